"""`adec inspect`: a look inside traces, profiles, models and pairs, the settings and the machine.

`recognise` finds out what was given. One module for each kind turns it into a `Report`: plain data
for `--json`, and blocks that `sheet` lays out for people. Nothing here loads weights.
"""

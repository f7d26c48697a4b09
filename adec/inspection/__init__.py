"""A look inside what adec reads and writes: traces, profiles, models, pairs, settings, the machine.

`thing.recognise` finds out what was given; one module a kind makes a `Report` of it: plain data for `--json`, and a
`Sheet` of the same for people. Nothing here loads weights, and nothing imports a backend but `environment` when it
must ask one for its version.
"""

"""Calibration: what this machine and this pair can do, which settings keep what quality, and the proof of it.

In the order in which a calibration uses them:

command           `adec calibrate` behind its options; recheck: `adec calibrate --check`
stages            the stages of a calibration and how they share the time
journal           what was measured so far, so that an interrupted calibration goes on
prompts           what is asked, split into prompts to fit on and prompts to prove on
forward_times     milliseconds of a forward of n tokens, by context length; how many threads are fastest
recording         the large model's answers, and what both models say of every position of them
agreement         how well the small model foretells the large one, over all records
pause_thresholds  AdaDec's entropy thresholds, from prompts whose solution is known
grids             the settings that are tried; the only file that knows strategies by name
simulate          strategies run on records instead of models
choose            the points that are promising enough to be run for real
trial             one point on one prompt for real; what the runs of a point add up to
tryouts           the chosen points side by side, the hopeless ones given up
held_out          the proof's stage: which points and how many held-out prompts
proof             the statistics of the proof: bounds on a mean loss, tests in a fixed order
result            what was found, and the strategy that follows from it
to_profile        the result as a profile
printout          the result for people: chart, table and sentence
"""

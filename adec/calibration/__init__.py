"""Calibration: what this machine and these models can do, and which settings keep what quality.

In the order in which a calibration uses them:

    command           `adec calibrate` behind its options
    served            the stages with a server as the large model: what is bought, and what is not
    recheck           `adec calibrate --check`: the forward times of a profile, measured again
    stages            the stages of a calibration, and how they share the time
    journal           what was measured so far, so that an interrupted calibration goes on
    prompts           what is asked: prompts to fit on, and prompts to prove on
    cost_tables       milliseconds of a forward of n tokens, by context length; threads
    recording         the large model's answers, and what both models say of every position
    agreement         how well the small model foretells the large one, over all records
    pause_thresholds  AdaDec's entropy thresholds, from prompts whose solution is known
    grids             the settings that are tried; all that is known of strategies by name
    simulate          strategies run on records instead of models
    choose            the points that look promising enough to be run for real
    trial             one point on one prompt for real, and what the runs of a point add up to
    tryouts           the chosen points side by side, the hopeless ones given up
    held_out          the proof's stage: which points, and on how many held-out prompts
    proof             its statistics: bounds on a mean loss, tests in a fixed order
    result            what was found, and the strategy that follows from it
    to_profile        the result as a profile
    printout          the result for people: chart, table and sentence
"""

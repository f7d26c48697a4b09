"""Calibration: what this machine and these models can do, and which settings keep what quality.

In the order in which a calibration uses them:

    request           what a person asked for, and what is refused before weights are loaded
    command           `adec calibrate` behind its options
    stages            the stages of a calibration, and how they share the time
    journal           what was measured so far, so that an interrupted calibration goes on
    prompts           what is asked: prompts to fit on, and prompts to prove on
    costs/            milliseconds of a forward of n tokens, by context length; threads
    replay/           records of the models' answers, and strategies run on them instead of models
    trials/           the promising settings run for real, and the proof on held-out prompts
    unfitted          parts that nobody has fitted yet, and whether they would pay here
    result            what was found, and the strategy that follows from it
    report/           the result as a profile, and for people: chart, table and sentence

Beside them, what is calibrated otherwise: `served/` a server as the large model, `canvas/` a
diffusion model, `fit/` the parts that methods learn (`--fit`), `compress/` smaller models.
"""

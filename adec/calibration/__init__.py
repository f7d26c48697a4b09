"""Calibration: what this machine and this pair can do, which thresholds keep what quality, and the proof of it.

prompts    what is asked, split into prompts to fit on and prompts to prove on
machine    what costs and thresholds depend on: fingerprints, versions, load
costs      milliseconds of a forward of n tokens, by context length
signals    the large model's answers, and what both models say of every position of them
replay     strategies on those records, without a forward
trial      strategies for real, and the loss of each answer
fit        candidates, the Pareto front, the cheapest point within the budget
bounds     distribution-free bounds on a mean loss
proof      the chosen points on held-out prompts
choice     the strategy that the profile recommends
journal    what was measured so far, so that an interrupted calibration goes on
writing    the profile
report     chart, table and sentence
"""

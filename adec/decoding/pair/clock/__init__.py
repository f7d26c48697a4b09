"""Whether to draft, with which drafter and how far: decided by measured milliseconds.

cost_curve        what a forward of n tokens costs, learnt as the run goes
kept_curve        the curve of a model on this machine, from run to run
trial_sizes       which forwards of unknown size may be tried, by what the draft risks
acceptance_rate   how often a draft stands: by probability, depth and rank
timed_growth      a tree grows while tokens per millisecond rise
backoff           when a drafter that does not pay pauses, and when it is tried again
account           what a drafter won and lost; in debt it is watched, not tried
candidate         one drafter with all that is known of it
wake_clock        when a block of EAD's drafts is full, so that the large model wakes
pause_wording     which drafters pause and which draft again, in words
chooser           the best candidate of a round, or none
"""

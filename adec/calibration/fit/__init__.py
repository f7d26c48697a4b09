"""Parts learned from a model's own answers: what is recorded for them, and how the time is used."""

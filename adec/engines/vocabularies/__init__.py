"""The tokens of a model, and ids of one vocabulary as those of another."""

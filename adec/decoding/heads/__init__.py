"""Several tokens from one forward of one model, by positions that stand for tokens to come."""

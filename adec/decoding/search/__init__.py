"""Strategies that spend computation where a model is unsure, to be right rather than fast."""

"""Smaller models from a large one, and what they lose: blocks left out, tensors quantised."""

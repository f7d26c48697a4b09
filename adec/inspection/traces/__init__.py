"""A trace of a run: on the terminal, step by step, and as a page."""

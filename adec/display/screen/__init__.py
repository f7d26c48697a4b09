"""The live display: what a terminal shows while an answer is written."""

"""Promising settings run for real, and the proof of one on prompts it has not seen."""

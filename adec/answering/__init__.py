"""From names to an answer: what was chosen, what is possible, loaded models, and text at both ends."""

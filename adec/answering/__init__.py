"""From names to an answer: the choice, the plan, loaded models, and text at both ends."""

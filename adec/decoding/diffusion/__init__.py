"""How many positions of a masked diffusion model stand at once: one loop, a rule a file."""

"""Calibration of a diffusion model: trajectories of the reference, and rules replayed on them."""

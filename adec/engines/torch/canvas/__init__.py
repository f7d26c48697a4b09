"""Diffusion models on torch: their folders, their blocks without a causal mask, their engine."""

"""Hugging Face folders through torch and transformers' modules."""

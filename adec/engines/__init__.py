"""Engines run a model: llama.cpp (GGUF files), torch (Hugging Face folders), a table (tests)."""

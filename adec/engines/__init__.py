"""What runs a model: llama.cpp (GGUF files), torch (Hugging Face folders), table (tests)."""

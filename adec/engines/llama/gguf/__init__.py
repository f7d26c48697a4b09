"""GGUF files as files: read as hostile input, checked, copied. llama.cpp is not needed."""

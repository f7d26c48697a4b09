"""Other people's decoders, run on the same models and prompts, a file each."""

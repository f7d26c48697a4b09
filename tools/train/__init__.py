"""The recipe of the practice pair: tokenizer, data, model, optimizer, training, files."""

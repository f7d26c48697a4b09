"""Some of a model's own layers draft for all of them."""

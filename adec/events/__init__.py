"""What happens in a run, as records: their JSON form, and the figures folded from them."""

"""What a run would have done: records of answers, and strategies replayed on them."""

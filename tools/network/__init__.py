"""Links between machines: made slow, cut, and timed."""

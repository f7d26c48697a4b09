"""Two models, one loop: draft, stop, wake, accept, dwell."""

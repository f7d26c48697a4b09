"""Settings against each other: what a choice gains, and whether it is repeated."""

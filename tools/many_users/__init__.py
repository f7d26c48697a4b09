"""A thousand users before one large model, simulated on records of a real pair."""

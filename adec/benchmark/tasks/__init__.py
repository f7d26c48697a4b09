"""What a bench asks: generated tasks and a user's own prompts."""

"""Who decides the next tokens: a family of methods a folder, a published method a file."""

"""Who writes ahead: a small model, n-gram tables, the text itself."""

"""Who writes ahead: a small model, a copy of the text, and the shapes and budgets of drafts."""

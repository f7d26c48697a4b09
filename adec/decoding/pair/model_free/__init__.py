"""Drafts without a second model: from the text before, and from what was nearly said."""

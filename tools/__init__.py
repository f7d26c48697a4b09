"""Scripts of the laboratory: they measure adec, and are not part of what users install."""

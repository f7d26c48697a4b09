"""Models layer by layer: lower layers first, some left out, some neurons alone, states kept."""

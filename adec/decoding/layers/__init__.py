"""How deep one model runs: its lower layers draft or decide, the others only where needed."""

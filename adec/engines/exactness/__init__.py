"""How exact forwards of several tokens are: measured, kept, and held to."""

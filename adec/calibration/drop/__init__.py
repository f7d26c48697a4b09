"""Which blocks of a model can be left out, and what that loses."""

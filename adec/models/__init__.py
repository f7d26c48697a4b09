"""Which models lie on this machine, what a name of one means, and which go together.

Nothing is ever downloaded, and no package is imported to look for a model in it.
"""

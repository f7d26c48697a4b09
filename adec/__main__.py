"""`python -m adec` is `adec`."""

from adec.cli import main

main()

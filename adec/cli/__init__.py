"""What a person types. Nothing here, imported, pulls in torch, transformers or llama_cpp."""

from __future__ import annotations


def main() -> None:
    """Entry point of the `adec` command."""
    from adec.cli.app import app
    from adec.cli.failures import exit_code_of, leave

    leave(exit_code_of(lambda: app(standalone_mode=False)))

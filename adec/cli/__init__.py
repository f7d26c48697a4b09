"""The command line. Importing it loads neither torch nor transformers nor llama_cpp."""

from __future__ import annotations

from collections.abc import Sequence


def main() -> None:
    """Entry point of the `adec` command."""
    import sys

    from adec.cli.failures import exit_code_of, leave, open_closed_streams

    open_closed_streams()
    leave(exit_code_of(lambda: invoke(sys.argv[1:])))


def invoke(arguments: Sequence[str]) -> object:
    """Run a command, with defaults from files and the environment. Errors are raised, not shown."""
    import typer

    from adec.cli.app import app
    from adec.cli.failures import MISUSE
    from adec.cli.misuse import explain
    from adec.cli.option_defaults import default_map, origin_of, with_values
    from adec.defaults import settings
    from adec.errors import UsageError

    arguments = with_values(arguments)
    known = settings()
    tree = typer.main.get_command(app)
    defaults = default_map(known, getattr(tree, "commands", {}), arguments)
    try:
        return tree(list(arguments), standalone_mode=False, default_map=defaults)
    except MISUSE as error:
        if isinstance(error, typer.BadParameter):
            origin = origin_of(known, error.param, arguments)
            if origin is not None:
                told = str(explain(error, arguments).message)
                raise UsageError(f"{origin}: {told}") from None
        raise explain(error, arguments) from None

"""What to write instead of a command line that is refused: a hint for the commonest slips."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import Any

from adec.errors import UsageError

VERBS = ("run", "calibrate", "bench", "inspect")


def explain(error: Any, arguments: Sequence[str]) -> UsageError:
    """A click error on `arguments` as one of ours, with the word that helps."""
    # typer's validator says first that it is about a value
    message = str(error.format_message()).strip().replace(" Value error, ", " ")
    message, _, guess = message.partition(" Did you mean ")
    context = getattr(error, "ctx", None)
    verb = arguments[0] if arguments and arguments[0] in VERBS else None
    hint = _hint(error, arguments, context, verb)
    if hint is None and guess:
        hint = f"did you mean {guess.strip()}"
    help_flag = "adec --help" if verb is None else f"adec {verb} --help"
    return UsageError(message.rstrip("."), hint=hint or f"see {help_flag}")


def _hint(error: Any, arguments: Sequence[str], context: Any, verb: str | None) -> str | None:
    message, option = str(error), getattr(error, "option_name", None)
    # a number below zero that an option has refused is no prompt
    refused = getattr(error, "param", None) is not None
    dashed = [word for word in arguments if _is_prose(word) and (" " in word or not refused)]
    if dashed and verb == "run":
        rest = arguments[arguments.index(dashed[0]) :]
        return f"put -- before a prompt that begins with a dash: adec run -- {_quoted(rest)}"
    if option == "--version":
        return "write adec --version"
    if verb is None and option is not None:
        known = {name for command in _commands(context) for p in command.params for name in p.opts}
        return f"options follow a verb: adec run {option} …" if option in known else None
    if verb is None and message.startswith("No such command"):
        if "Did you mean" in message:
            return None
        return f"to ask something, write adec run {_quoted(arguments)}"
    extra = re.search(r"^Got unexpected extra arguments?.*?\((?!s\))(.*)\)", message, re.S)
    if extra is not None and verb == "run":
        return f"quote the prompt: adec run {_quoted([context.params['prompt'], extra[1]])}"
    if extra is not None and verb == "bench":
        return "prompts of your own go into a file: adec bench --task FILE"
    return None


def _is_prose(word: str) -> bool:
    """Whether an argument that begins with a dash is a prompt rather than an option."""
    name = word.partition("=")[0]
    return re.match(r"-{1,2}\d|-.*\s", name, re.S) is not None


def _commands(context: Any) -> list[Any]:
    return [] if context is None else list(getattr(context.command, "commands", {}).values())


def _quoted(words: Sequence[str]) -> str:
    text = " ".join(words)
    return shlex.quote(text) if set(text) & set('"$`\\!') else f'"{text}"'

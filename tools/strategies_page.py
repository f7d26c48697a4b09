"""Write docs/strategies.md from the code: every strategy with its paper, promise, needs and settings.

    python -m tools.strategies_page
    python -m tools.strategies_page --check

Measures nothing. With --check nothing is written; the exit code is 4 when the page is not current.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import re
import sys
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal

from adec.decoding.registry import METHODS, Method
from adec.decoding.strategy import Aids, Strategy
from adec.engines.pair import Engines
from adec.engines.table import TableEngine

PAGE = Path(__file__).parents[1] / "docs" / "strategies.md"

HEAD = """# Strategies

<!-- Written by `python -m tools.strategies_page` from adec/decoding/registry.py. Do not edit. -->

Choose one with `--strategy NAME`. Set a value with `--set NAME.SETTING=VALUE`, in a profile, or in `adec.toml`. The default
strategy, `auto`, runs what a profile recommends, and `speculate` without a profile.

| promise | meaning |
| --- | --- |
| exact | greedy: the tokens of the large model alone, up to near ties that another batch size rounds differently. Sampled: its distribution |
| approximate | none. A profile may prove for a pair that a budget of quality is kept; `adec bench` shows what it costs |

*Forwards that rewind*: the model can drop its last tokens again. *Token trees*: it can score several continuations at once.
"""

CAPABILITIES = {"rewind": "rewinds", "tree": "takes token trees"}


def page() -> str:
    """The whole page as Markdown."""
    return "\n".join([HEAD, *_overview(), *(_section(method) for method in METHODS.values())])


def promise(method: Method) -> str:
    """What the method promises with its defaults, and which settings change that.

    Each setting that is a choice is tried by itself on engines of one token, which builds the strategy without a model.
    """
    usual = _build(method, {}).guarantee
    others = [
        f"{guarantee.value} with `{method.name}.{name}={_shown(value)}`"
        for name, value in _choices(method.settings)
        if (guarantee := _build(method, {name: value}).guarantee) is not usual
    ]
    return "; ".join([usual.value, *others])


def needs(method: Method) -> str:
    """Which models the method runs on and what they must be capable of."""
    models = (
        "a large and a small model" if method.pair else "one model; a small one may stand beside it"
    )
    wanted = " and ".join(CAPABILITIES[capability] for capability in sorted(method.needs))
    if not wanted:
        return models
    return f"{models}; each {wanted}"


def _overview() -> Iterator[str]:
    yield "| name | what it does | promise |"
    yield "| --- | --- | --- |"
    for method in METHODS.values():
        yield f"| [`{method.name}`](#{method.name}) | {method.about} | {promise(method)} |"
    yield ""


def _section(method: Method) -> str:
    lines = [f"## {method.name}", "", _about(method), ""]
    paper = _build(method, {}).paper
    if paper is not None:
        link = re.sub(r"arXiv (\S+)", r"[arXiv \1](https://arxiv.org/abs/\1)", paper)
        lines.append(f"- Paper: {link}")
    lines += [f"- Promise: {promise(method)}", f"- Needs: {needs(method)}", ""]
    fields = dataclasses.fields(method.settings)
    if fields:
        lines += ["| setting | default | values | meaning |", "| --- | --- | --- | --- |"]
        hints = typing.get_type_hints(method.settings)
        for field in fields:
            meaning = field.metadata["meaning"].replace("|", "\\|")
            lines.append(
                f"| `{method.name}.{field.name}` | {_shown(field.default)} "
                f"| {_values(hints[field.name], field.metadata)} | {meaning} |"
            )
        lines.append("")
    return "\n".join(lines)


def _about(method: Method) -> str:
    """The docstring of the method's file, as paragraphs."""
    module = sys.modules[method.settings.__module__]
    text = inspect.cleandoc(module.__doc__ or method.about)
    if module.__name__ == "adec.decoding.registry":
        text = method.about[0].upper() + method.about[1:] + "."
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _build(method: Method, values: dict[str, Any]) -> Strategy:
    def engine() -> TableEngine:
        return TableEngine(lambda prefix: (1.0,), size=1)

    engines = Engines(large=engine(), small=engine())
    return method.build(engines, method.settings(**values), Aids())


def _choices(settings: type[Any]) -> Iterator[tuple[str, Any]]:
    """(name, value) of every value, other than the default, of settings that name a choice."""
    hints = typing.get_type_hints(settings)
    for field in dataclasses.fields(settings):
        if typing.get_origin(hints[field.name]) is Literal:
            for value in typing.get_args(hints[field.name]):
                if value != field.default:
                    yield field.name, value


def _values(hint: Any, metadata: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return ", ".join(f"`{option}`" for option in typing.get_args(hint))
    if hint is bool:
        return "`true`, `false`"
    kind = "number"
    none = ""
    if isinstance(hint, types.UnionType):
        none = ", or `none`"
        hint = next(option for option in typing.get_args(hint) if option is not type(None))
    if hint is int:
        kind = "whole number"
    least, most = metadata["least"], metadata["most"]
    if least is not None and most is not None:
        return f"{kind}, {least:g} to {most:g}{none}"
    if least is not None:
        return f"{kind}, at least {least:g}{none}"
    return kind + none


def _shown(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the page; the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="fail when the page is not current")
    if parser.parse_args(arguments).check:
        return 0 if PAGE.read_text(encoding="utf-8") == page() else 4
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

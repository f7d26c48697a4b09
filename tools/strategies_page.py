"""Write docs/strategies.md: every strategy with its paper, promise, needs and settings.

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

from adec.decoding.method import Method, Needs
from adec.decoding.registry import METHODS
from adec.decoding.strategy import Aids, Strategy
from adec.engines.base import Capability, Engine
from adec.engines.pair import Engines
from adec.engines.table import TableEngine
from adec.engines.table_canvas import TableCanvas
from adec.events.records import Role

PAGE = Path(__file__).parents[1] / "docs" / "strategies.md"

HEAD = """# Strategies

<!-- Written by `python -m tools.strategies_page` from adec/decoding/registry.py. Do not edit. -->

Choose one with `--strategy NAME`. Set a value with `--set NAME.SETTING=VALUE`, in a profile, or in
`adec.toml`. The default strategy, `auto`, runs what a profile recommends, and `speculate` without a
profile; on a diffusion model it is `steps`.

- **exact**: greedy, the tokens of the large model alone, up to near ties that another batch size
  rounds differently; sampled, its distribution. On a diffusion model: what it writes at one
  position a forward.
- **approximate**: no promise. A profile may prove that a pair keeps a budget of quality;
  `adec bench` shows what it costs.
- A model **rewinds** if it can drop its last tokens again. It **takes token trees** if it can score
  several continuations in one forward.
"""

CAPABILITIES: dict[Capability, str] = {
    "rewind": "rewinds",
    "tree": "takes token trees",
    "layers": "runs single layers",
    "vectors": "takes vectors for tokens",
    "pseudo": "foresees by pseudo positions",
    "canvas": "scores a whole canvas",
    "text": "returns text",
}


def page() -> str:
    """The whole page as Markdown."""
    return "\n".join([HEAD, *_overview(), *(_section(method) for method in METHODS.values())])


def promise(method: Method) -> str:
    """What the method promises with its defaults, and which settings change that.

    Each setting that is a choice is tried by itself, on engines of one token: no model is needed.
    """
    usual = _build(method, {}).guarantee
    others = [
        f"{guarantee.value} with `{method.name}.{name}={_shown(value)}`"
        for name, value in _choices(method.settings)
        if (guarantee := _build(method, {name: value}).guarantee) is not usual
    ]
    return "; ".join([usual.value, *others])


def needs(method: Method) -> str:
    """Which models the method needs and uses, by role, and what each must be capable of."""
    needed = _models(method.needs)
    return f"{needed}; uses {_models(method.uses)} if there is one" if method.uses else needed


def _models(wanted: Needs) -> str:
    """`{"small": {"rewind"}}` to "a small model that rewinds"; the large model first."""
    described = []
    for role in sorted(wanted):
        abilities = " and ".join(CAPABILITIES[name] for name in sorted(wanted[role]))
        described.append(f"a {role} model" + (f" that {abilities}" if abilities else ""))
    return ", ".join(described)


def _overview() -> Iterator[str]:
    yield "| name | what it does | promise | models |"
    yield "| --- | --- | --- | --- |"
    for method in METHODS.values():
        models = " and ".join(sorted(method.needs))
        link = f"[`{method.name}`](#{method.name})"
        yield f"| {link} | {method.about} | {promise(method)} | {models} |"
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
    """The docstring of the method's file: paragraphs, lists, and formulas as they stand there."""
    module = sys.modules[method.settings.__module__]
    text = inspect.cleandoc(module.__doc__ or method.about)
    if module.__name__ == "adec.decoding.registry":
        text = method.about[0].upper() + method.about[1:] + "."
    return "\n\n".join(_block(part) for part in text.split("\n\n"))


def _block(text: str) -> str:
    lines = text.strip("\n").splitlines()
    if all(line.startswith("    ") for line in lines):
        return "\n".join(["```text", *inspect.cleandoc("\n".join(lines)).splitlines(), "```"])
    return "\n".join(" ".join(item.split()) for item in re.split(r"\n(?=- )", "\n".join(lines)))


def _build(method: Method, values: dict[str, Any]) -> Strategy:
    def engine(role: Role) -> Engine:
        if "canvas" in method.needs.get(role, ()):
            return TableCanvas(lambda canvas, place: (1.0, 0.0, 0.0), size=3)
        return TableEngine(lambda prefix: (1.0,), size=1, layers=3)

    engines = Engines(large=engine("large"), small=engine("small"))
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

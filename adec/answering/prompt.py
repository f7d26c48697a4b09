"""Turns what a person typed into the ids that a model reads.

A chat template comes with the model file and is hostile input: it is rendered in a sandbox, sees
nothing but the messages, and its loops and repetitions are bounded. The user's text is hostile to
the template: the name of a control token in it stays plain text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from adec.engines.base import Engine
from adec.engines.vocabularies.vocabulary import Vocabulary
from adec.errors import UsageError

TEMPLATE_BYTES = 512 * 1024
"""Longest chat template that is rendered, ten times the longest in use."""

LOOP_ROUNDS = 100_000
"""Rounds of `range` loops in one rendering, all loops together."""


Exchanged = tuple[str, str]
"""A question and the answer to it."""


def encode_prompt(
    engine: Engine,
    text: str,
    *,
    system: str | None = None,
    earlier: Sequence[Exchanged] = (),
    raw: bool = False,
    special: bool = False,
) -> tuple[list[int], str]:
    """Encode a prompt; returns the ids and the text that they stand for.

    Unless `raw`, a model with a chat template gets `text` as a user's message, after the `earlier`
    ones and their answers; without a template a line each continues the text. With `raw` and
    `special`, names of control tokens in `text` become these tokens. Raises UsageError when the
    template refuses or misbehaves, when `system` has no place to go, when `special` comes without
    `raw`, or when nothing is left to read.
    """
    text = printable(text)
    if special and not raw:
        raise UsageError("--special has no effect without --raw", hint="add --raw")
    template = engine.vocabulary.chat_template
    if raw or template is None:
        if system is not None:
            why = "--raw takes the prompt as it is" if raw else "the model has no chat template"
            raise UsageError(f"--system has no place: {why}", hint="put it into the prompt itself")
        text = "".join(f"{asked}{answer}\n" for asked, answer in earlier) + text
        ids = engine.tokenizer.encode(text, special=special)
        rendered = text
    else:
        contents = [("system", printable(system))] if system else []
        for asked, answer in earlier:
            contents += [("user", printable(asked)), ("assistant", printable(answer))]
        ids, rendered = _encode_chat(engine, template, [*contents, ("user", text)])
    begin = engine.vocabulary.begin
    if begin is not None and engine.vocabulary.adds_begin and ids[:1] != [begin]:
        ids = [begin, *ids]
    if not ids:
        raise UsageError("the prompt is empty", hint='for example: adec run "What is 81 + 95?"')
    return ids, rendered


def printable(text: str) -> str:
    """Replace lone surrogates, which no encoder takes, by U+FFFD."""
    return "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in text)


def render_chat(template: str, messages: list[dict[str, str]], vocabulary: Vocabulary) -> str:
    """Render `messages` and the start of an answer. Raises UsageError."""
    from jinja2 import TemplateError
    from jinja2.exceptions import SecurityError

    if len(template) > TEMPLATE_BYTES:
        raise UsageError(
            f"the model's chat template has {len(template):,} characters, "
            f"{TEMPLATE_BYTES:,} at most",
            hint="use --raw",
        )
    try:
        rendered: str = (
            _environment()
            .from_string(template)
            .render(
                # llama.cpp fills in nothing for these two where a model has none
                {"bos_token": "", "eos_token": "", **vocabulary.special},
                messages=messages,
                add_generation_prompt=True,
                tools=None,
                documents=None,
            )
        )
        return rendered
    except SecurityError as error:
        raise UsageError(
            f"the model's chat template does what templates may not: {error}", hint="use --raw"
        ) from None
    except TemplateError as error:
        reason = " ".join(str(error).split())[:200]
        raise UsageError(
            f"the model's chat template refuses: {reason}", hint="use --raw, or leave --system out"
        ) from None
    except Exception as error:
        raise UsageError(
            f"the model's chat template fails: {type(error).__name__}", hint="use --raw"
        ) from None


def _encode_chat(
    engine: Engine, template: str, contents: list[tuple[str, str]]
) -> tuple[list[int], str]:
    """`contents`: a role and a text each."""
    vocabulary = engine.vocabulary
    rendered = render_chat(template, [{"role": r, "content": c} for r, c in contents], vocabulary)
    names = [vocabulary.pieces[token].decode("utf-8", "replace") for token in vocabulary.control]
    if not any(name and name in content for name in names for _, content in contents):
        return engine.tokenizer.encode(rendered, special=True), rendered
    # the user typed a control token's name: encode the template's parts apart from the contents
    marks = {f"\u2063adec{i}\u2063": content for i, (_, content) in enumerate(contents)}
    messages = [
        {"role": role, "content": mark} for (role, _), mark in zip(contents, marks, strict=True)
    ]
    ids: list[int] = []
    for part in _split(render_chat(template, messages, vocabulary), list(marks)):
        content = marks.get(part)
        ids += engine.tokenizer.encode(
            part if content is None else content, special=content is None
        )
    return ids, rendered


def _split(text: str, marks: list[str]) -> Iterator[str]:
    """Split a text at marks; the marks are yielded, too."""
    while text:
        found = [(text.index(mark), mark) for mark in marks if mark in text]
        if not found:
            yield text
            return
        at, mark = min(found)
        if at:
            yield text[:at]
        yield mark
        text = text[at + len(mark) :]


def _environment() -> Any:
    from jinja2 import TemplateError, nodes
    from jinja2.exceptions import SecurityError
    from jinja2.ext import Extension, loopcontrols
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Bounded(ImmutableSandboxedEnvironment):
        """A sandbox whose arithmetic cannot blow memory up."""

        intercepted_binops = frozenset({"*", "**", "%"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            if operator == "**":
                raise SecurityError("powers are not allowed")
            if operator == "*" and not all(isinstance(x, int | float) for x in (left, right)):
                raise SecurityError("repetition is not allowed")
            if operator == "%" and isinstance(left, str):
                raise SecurityError("formatting with % is not allowed")
            return super().call_binop(context, operator, left, right)

    class Generation(Extension):
        """`{% generation %}`, by which templates mark the answer for training: its body as is."""

        tags = {"generation"}  # noqa: RUF012

        def parse(self, parser: Any) -> Any:
            line = next(parser.stream).lineno
            body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
            return nodes.Scope(body, lineno=line)

    rounds = 0

    def bounded_range(*arguments: int) -> range:
        nonlocal rounds
        result = range(*arguments)
        rounds += len(result)
        if rounds > LOOP_ROUNDS:
            raise SecurityError(f"more than {LOOP_ROUNDS:,} rounds of loops")
        return result

    def raise_exception(message: str) -> None:
        raise TemplateError(message)

    def tojson(value: Any, indent: int | None = None, **_: Any) -> str:
        return json.dumps(value, ensure_ascii=False, indent=min(indent, 8) if indent else None)

    environment = Bounded(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, loopcontrols]
    )
    environment.globals.update(
        range=bounded_range,
        raise_exception=raise_exception,
        strftime_now=lambda form: datetime.now().strftime(str(form)[:100]),
    )
    for name in ("lipsum", "cycler", "joiner"):
        environment.globals.pop(name, None)
    for name in ("center", "indent", "wordwrap", "format", "filesizeformat", "pprint"):
        environment.filters.pop(name, None)
    environment.filters["tojson"] = tojson
    return environment

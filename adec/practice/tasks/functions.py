"""Short Python functions from a one-line description, with tests that can be run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

from adec.practice.tasks.problem import Problem

FAMILY = "functions"
NAMES = (
    "pick", "solve", "work", "build", "change", "answer", "task", "run", "handle", "process",
    "compute", "convert",
)  # fmt: skip
NUMBER_LISTS = ("numbers", "values", "data", "nums")
WORD_LISTS = ("words", "lines", "parts", "names")
STRINGS = ("text", "word", "line", "s")
SCALARS = ("x", "n", "number", "value")
LETTERS = "abcdefghijklmnoprstuvw"

_NUMBER_INPUTS = ("[]", "[3, -4, 10, 0, 7]", "[12, 5, -9, 8, 6, 1, 20]", "[-2, 15, 2, 30, 9, -7]")
_WORD_INPUTS = ("[]", "['apple', 'sky', 'Tree', 'a', 'broom']", "['boat', 'cat', 'stone', 'io']")
_STRING_INPUTS = ("''", "'banana'", "'Green apple tree'", "'level'", "'a dog sees frogs'")
_SCALAR_INPUTS = ("0", "1", "7", "-4", "12", "25", "100")


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece of a description and its code; `{v}` stands for the variable."""

    said: str
    code: str


def make(rng: Random) -> Problem:
    """A problem of a random kind."""
    roll = rng.random()
    if roll < 0.45:
        return _numbers(rng)
    if roll < 0.65:
        return _words(rng)
    return _string(rng) if roll < 0.85 else _scalar(rng)


def _problem(
    rng: Random, kind: str, argument: str, said: str, body: str, key: str, inputs: Sequence[str]
) -> Problem:
    name = rng.choice(NAMES)
    form = rng.choice((
        "Write a Python function {0}({1}) that returns {2}.",
        "Define {0}({1}) in Python. It returns {2}.",
        "Python: {0}({1}) should return {2}.",
    ))  # fmt: skip
    code = f"def {name}({argument}):\n    {body}\n"
    scope: dict[str, Callable[[object], object]] = {}
    exec(compile(code, "solution", "exec"), scope)  # our own source
    tests = tuple(f"{name}({given}) == {scope[name](_literal(given))!r}" for given in inputs)
    return Problem(
        FAMILY, kind, form.format(name, argument, said), code.rstrip(), code.rstrip(), key,
        form="code", tests=tests,
    )  # fmt: skip


def _literal(source: str) -> object:
    value: object = eval(source, {"__builtins__": {}})  # our own source
    return value


def _filters(rng: Random) -> _Part:
    k = rng.randint(2, 20)
    d = rng.randint(3, 9)
    return rng.choice((
        _Part("even {0}", "{v} % 2 == 0"), _Part("odd {0}", "{v} % 2 == 1"),
        _Part("positive {0}", "{v} > 0"), _Part("negative {0}", "{v} < 0"),
        _Part(f"{{0}} greater than {k}", f"{{v}} > {k}"),
        _Part(f"{{0}} less than {k}", f"{{v}} < {k}"),
        _Part(f"{{0}} of at least {k}", f"{{v}} >= {k}"),
        _Part(f"{{0}} other than {k}", f"{{v}} != {k}"),
        _Part(f"{{0}} divisible by {d}", f"{{v}} % {d} == 0"),
        _Part(f"{{0}} not divisible by {d}", f"{{v}} % {d} != 0"),
    ))  # fmt: skip


def _maps(rng: Random) -> _Part:
    k = rng.randint(2, 20)
    return rng.choice((
        _Part("the squares of", "{v} * {v}"), _Part("twice", "{v} * 2"),
        _Part("the absolute values of", "abs({v})"), _Part("the negatives of", "-{v}"),
        _Part(f"{k} times", f"{{v}} * {k}"), _Part(f"{k} more than", f"{{v}} + {k}"),
        _Part(f"{k} less than", f"{{v}} - {k}"),
        _Part(f"the remainders by {k} of", f"{{v}} % {k}"),
    ))  # fmt: skip


def _numbers(rng: Random) -> Problem:
    """Filter, map, and gather a list of numbers."""
    argument = rng.choice(NUMBER_LISTS)
    v = argument[0]
    which = _filters(rng) if rng.random() < 0.75 else _Part("{0}", "")
    how = _maps(rng) if rng.random() < 0.6 or not which.code else _Part("", "")
    each = how.code.format(v=v) if how.code else v
    loop = f"{each} for {v} in {argument}"
    if which.code:
        loop += f" if {which.code.format(v=v)}"
    things = f"the {which.said.format(argument)}" if which.code else f"the {argument}"
    mapped = f"{how.said} {things}" if how.said else things
    gather = rng.choice(("list", "list", "sum", "count", "max", "min", "sorted", "any"))
    if gather == "count":
        if not which.code:
            gather = "sum"
        else:
            loop, mapped = f"1 for {v} in {argument} if {which.code.format(v=v)}", things
    said, body = {
        "list": ("a list of {0}", "[{1}]"),
        "sum": ("the sum of {0}", "sum({1})"),
        "count": ("how many {0} there are", "sum({1})"),
        "max": ("the largest of {0}, or 0 if there is none", "max(({1}), default=0)"),
        "min": ("the smallest of {0}, or 0 if there is none", "min(({1}), default=0)"),
        "sorted": ("{0} in ascending order", "sorted({1})"),
        "any": ("whether any of {0} is above 10", "any({2} > 10 for {3})"),
    }[gather]
    rest = loop.split(" for ", 1)[1]
    said = said.format(mapped if gather != "count" else things.removeprefix("the "))
    body = body.format("", loop, each, rest)
    return _problem(
        rng, "numbers", argument, said, f"return {body}",
        f"{gather}|{which.code}|{how.code}", _NUMBER_INPUTS,
    )  # fmt: skip


def _words(rng: Random) -> Problem:
    """Filter, change and gather a list of strings."""
    argument = rng.choice(WORD_LISTS)
    k, letter = rng.randint(2, 8), rng.choice(LETTERS)
    which = rng.choice((
        _Part("", ""),
        _Part(f" that are longer than {k}", f"len({{v}}) > {k}"),
        _Part(f" that are shorter than {k}", f"len({{v}}) < {k}"),
        _Part(f" that start with {letter}", f"{{v}}.startswith('{letter}')"),
        _Part(f" that end with {letter}", f"{{v}}.endswith('{letter}')"),
        _Part(f" that contain {letter}", f"'{letter}' in {{v}}"),
        _Part(f" without the letter {letter}", f"'{letter}' not in {{v}}"),
    ))  # fmt: skip
    how = rng.choice((
        _Part("", "{v}"), _Part(" in upper case", "{v}.upper()"),
        _Part(" in lower case", "{v}.lower()"), _Part(" reversed", "{v}[::-1]"),
        _Part(f" cut to {k} letters", f"{{v}}[:{k}]"),
    ))  # fmt: skip
    v = argument[0]
    loop = f"{how.code.format(v=v)} for {v} in {argument}"
    if which.code:
        loop += f" if {which.code.format(v=v)}"
    things = f"the {argument}{which.said}"
    if not which.code and how.code == "{v}":
        things, loop = f"the lengths of the {argument}", f"len({v}) for {v} in {argument}"
        gather = rng.choice(("list", "sorted"))
    else:
        gather = rng.choice(("list", "list", "join", "sorted", "count"))
    if gather == "count" and not which.code:
        gather = "list"
    shape = f", each{how.said}" if how.said else ""
    if gather == "count":
        said = f"how many {argument}{which.said} there are"
        body = f"sum(1 for {v} in {argument} if {which.code.format(v=v)})"
    elif gather == "join":
        said, body = f"{things}{shape}, joined by spaces", f"' '.join({loop})"
    elif gather == "sorted":
        said, body = f"{things}{shape}, in sorted order", f"sorted({loop})"
    else:
        said, body = f"a list of {things}{shape}", f"[{loop}]"
    key = f"{gather}|{which.code}" if gather == "count" else f"{gather}|{which.code}|{how.code}"
    return _problem(rng, "words", argument, said, f"return {body}", key, _WORD_INPUTS)


def _string(rng: Random) -> Problem:
    """One or two changes of a string, and perhaps a count."""
    argument = rng.choice(STRINGS)
    said, code, key = argument, argument, []
    for _ in range(rng.choice((1, 2, 2))):
        k = rng.randint(2, 9)
        old, new = rng.sample(LETTERS, 2)
        part = rng.choice((
            _Part("{0} in upper case", "{v}.upper()"), _Part("{0} in lower case", "{v}.lower()"),
            _Part("{0} reversed", "{v}[::-1]"), _Part("{0} without spaces", "{v}.replace(' ', '')"),
            _Part(f"the first {k} letters of {{0}}", f"{{v}}[:{k}]"),
            _Part(f"the last {k} letters of {{0}}", f"{{v}}[-{k}:]"),
            _Part(f"{{0}} without its first {k} letters", f"{{v}}[{k}:]"),
            _Part(f"{{0}} repeated {k} times", f"({{v}} * {k})"),
            _Part(f"{{0}} with {old} replaced by {new}", f"{{v}}.replace('{old}', '{new}')"),
            _Part(f"{{0}} without the letter {old}", f"{{v}}.replace('{old}', '')"),
        ))  # fmt: skip
        said, code = part.said.format(said), part.code.format(v=code)
        key.append(part.code)
    roll = rng.random()
    letter = rng.choice(LETTERS)
    if roll < 0.15:
        said, code = f"the length of {said}", f"len({code})"
        key.append("len")
    elif roll < 0.35:
        said, code = f"how often {letter} occurs in {said}", f"{code}.count('{letter}')"
        key.append(f"count {letter}")
    return _problem(rng, "string", argument, said, f"return {code}", "|".join(key), _STRING_INPUTS)


def _scalar(rng: Random) -> Problem:
    """A number in two cases."""
    x = rng.choice(SCALARS)
    which = _filters(rng)
    test = which.code.format(v=x)
    said = f"{x} is " + {
        "{v} % 2 == 0": "even", "{v} % 2 == 1": "odd", "{v} > 0": "positive",
        "{v} < 0": "negative",
    }.get(which.code, which.said.removeprefix("{0} ").removeprefix("of "))  # fmt: skip
    first, second = _value(rng, x), _value(rng, x)
    while second.code == first.code:
        second = _value(rng, x)
    key = f"{which.code}|{first.code.replace(x, '{v}')}|{second.code.replace(x, '{v}')}"
    return _problem(
        rng, "cases", x, f"{first.said} if {said}, otherwise {second.said}",
        f"return {first.code} if {test} else {second.code}", key, _SCALAR_INPUTS,
    )  # fmt: skip


def _value(rng: Random, x: str) -> _Part:
    k = rng.randint(2, 20)
    return rng.choice((
        _Part(f"{x} plus {k}", f"{x} + {k}"), _Part(f"{x} minus {k}", f"{x} - {k}"),
        _Part(f"{x} times {k}", f"{x} * {k}"), _Part(f"{k} minus {x}", f"{k} - {x}"),
        _Part(f"the square of {x}", f"{x} * {x}"), _Part(x, x), _Part(str(k), str(k)),
        _Part(f"{x} divided by {k} without remainder", f"{x} // {k}"),
    ))  # fmt: skip

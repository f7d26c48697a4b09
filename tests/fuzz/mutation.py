"""Mutations for the fuzzers: bytes changed, JSON values replaced, lines lost or doubled."""

from __future__ import annotations

import json
import random
import re
import struct
from collections.abc import Callable
from typing import Any

NUMBERS = (
    0, 1, 2, 3, 7, 16, 31, 32, 63, 64, 255, 256, 257, 511, 513, 4096, 65535, 1 << 20, 2**31 - 1,
    2**31, 2**32 - 1,
)  # fmt: skip
HUGE = (2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30)
REALS = (0.0, -1.0, 1.0, 1e-30, 1e30, float("nan"), float("inf"), 0.5)
STRINGS = (
    "", " ", "\n", "\0", "x" * 3000, "漢字" * 40, "inf", "nan", "-inf", "1e999",
    "../../../etc/passwd", "/dev/zero", "/dev/stdin",
    "a/b.safetensors", "1970-01-01", "9999-99-99", "</script><script>alert(1)</script>", "{title}",
    "%s%n", "[bold]x[/bold]",
    "a\u0300" * 500, "\U0001f468\u200d\U0001f469", "plain", "ead", "exact", "practice:small",
)  # fmt: skip
ESCAPES = (
    "\x1b[2J\x1b[H", "\x1b]52;c;aGk=\x07", "\x1b]8;;file:///etc\x1b\\x", "\x9b31m", "\x1bc",
    "\x07\x08\x7f", "a\rb", "\u202eabc",
    "\u2028\u2029", "\ud800", "\udc1b[2J", "\ufeff", "\u200b", "\U000e0041", "\x1b[?1049h",
)  # fmt: skip
"""What acts on a terminal, or turns text around, or is half a character."""

LARGEST = 1 << 20
"""Bytes that a copy may add: a mutant is to be odd, not endless."""
_RAW = "@raw:"
"""Marks a string that stands for JSON which `json.dumps` cannot write."""
_RAWS: tuple[Callable[[random.Random], str], ...] = (
    lambda rng: "[" * (n := rng.choice((20, 40, 200, 5000, 100_000))) + "]" * n,
    lambda rng: '{"a":' * (n := rng.choice((20, 40, 200, 5000))) + "0" + "}" * n,
    lambda rng: "[" * 2000,
    lambda rng: "9" * rng.choice((20, 310, 5000, 50_000)),
    lambda rng: "-" + "9" * 19,
    lambda rng: rng.choice(("1e999", "-1e400", "1e-999", "NaN", "Infinity", "-Infinity", "0.1e1")),
    lambda rng: "[" + ",".join(["0"] * rng.choice((100, 20_000))) + "]",
    lambda rng: '{"a":1,"a":[],"a":"x"}',
)


def flip(data: bytes, rng: random.Random, reach: int | None = None) -> bytes:
    """One to four places of the first `reach` bytes changed: a bit, a byte, a number, or bytes
    gone.
    """
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if not out:
            break
        at = rng.randrange(min(len(out), reach or len(out)))
        match rng.randrange(5):
            case 0:
                out[at] ^= 1 << rng.randrange(8)
            case 1:
                out[at] = rng.randrange(256)
            case 2:
                out[at : at + 4] = struct.pack("<I", rng.choice(NUMBERS))
            case 3:
                out[at : at + 8] = struct.pack("<Q", rng.choice((*NUMBERS, 2**63, 2**64 - 1)))
            case 4:
                del out[at : at + rng.choice((1, 4, 8))]
    return bytes(out)


def tear(data: bytes, rng: random.Random) -> bytes:
    """Cut off, begun too late, a part twice, zeros in the middle, or another file behind it."""
    a, b = sorted(rng.randrange(len(data) + 1) for _ in range(2))
    match rng.randrange(5):
        case 0:
            return data[:a]
        case 1:
            return data[a:]
        case 2:
            return data[:b] + data[a:b] + data[b:]
        case 3:
            return data[:a] + bytes(b - a) + data[b:]
        case _:
            return data + data[a:]


def some_value(rng: random.Random) -> Any:
    """Anything that JSON can carry, mostly what nobody expects."""
    match rng.randrange(9):
        case 0:
            return rng.choice((*NUMBERS, *HUGE)) * rng.choice((1, 1, -1))
        case 1:
            return rng.choice((0.5, 1e-300, 1.7e308, -0.0, 1e15, 3.0))
        case 2:
            return rng.choice(STRINGS)
        case 3:
            return rng.choice(ESCAPES) + rng.choice(("", "x", rng.choice(ESCAPES)))
        case 4:
            return rng.choice((None, True, False))
        case 5:
            return [some_value(rng) for _ in range(rng.choice((0, 1, 3)))]
        case 6:
            return {rng.choice((*STRINGS, *ESCAPES)): some_value(rng) for _ in range(2)}
        case _:
            return _RAW + str(rng.randrange(1 << 30))


def change(value: Any, rng: random.Random) -> Any:
    """A JSON value with one to four of its parts replaced, dropped, doubled or renamed. `value`
    itself may change.
    """
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        holder, key = _somewhere(value, rng)
        if holder is None:
            return some_value(rng)
        match rng.randrange(8):
            case 0:
                del holder[key]
            case 1 if isinstance(holder, dict):
                holder[rng.choice((*STRINGS, *ESCAPES, str(key) + "s"))] = holder.pop(key)
            case 1 | 2 if isinstance(holder, list):
                room = LARGEST // len(json.dumps(holder[key]))
                holder[key:key] = [holder[key]] * min(room, rng.choice((1, 2, 70, 1500)))
            case 3:
                holder[key] = _near(holder[key], rng)
            case 4 if (other := _somewhere(value, rng))[0] is not None:
                # a copy: a value within itself has no JSON
                holder[key] = json.loads(json.dumps(other[0][other[1]]))
            case _:
                holder[key] = some_value(rng)
    return value


def _near(value: Any, rng: random.Random) -> Any:
    """Something of the same type, a little or very wrong."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return rng.choice((value + 1, value - 1, -value, value * 2, value << 20, *HUGE))
    if isinstance(value, float):
        return rng.choice((-value, value * 1e6, value / 1e6, 0.0, 1.7e308))
    if isinstance(value, str):
        at = rng.randrange(len(value) + 1)
        piece = rng.choice((*STRINGS, *ESCAPES))
        return rng.choice((value[:at] + piece + value[at:], value[:at], value * 50, piece))
    return some_value(rng)


def _somewhere(value: Any, rng: random.Random) -> tuple[Any, Any]:
    """(container, key) of some part, deeper ones as likely as the first; (None, None) where there
    is none.
    """
    holder: Any = None
    key: Any = None
    while True:
        inner = value if holder is None else holder[key]
        if not isinstance(inner, dict | list) or not inner:
            return holder, key
        if holder is not None and rng.random() < 0.25:
            return holder, key
        holder = inner
        key = rng.choice(list(inner)) if isinstance(inner, dict) else rng.randrange(len(inner))


def written(value: Any, rng: random.Random) -> bytes:
    """As JSON, with what JSON libraries do not write where `some_value` left room for it."""
    text = json.dumps(value, ensure_ascii=rng.random() < 0.7)
    # values only, no keys: what is broken on purpose is broken by `flip`
    text = re.sub(f'"{_RAW}[0-9]+"', lambda _: rng.choice(_RAWS)(rng), text)
    return text.encode("utf-8", errors="surrogatepass")


def change_json(data: bytes, rng: random.Random) -> bytes:
    """A JSON file with a lie in it."""
    if rng.random() < 0.2:
        return rng.choice((flip, tear))(data, rng)
    return written(change(json.loads(data), rng), rng)


def change_lines(data: bytes, rng: random.Random) -> bytes:
    """A file of JSON lines with lies in one to three of them, or lines that are lost, doubled,
    swapped or torn.
    """
    if rng.random() < 0.2:
        return rng.choice((flip, tear))(data, rng)
    lines = data.splitlines(keepends=True)
    for _ in range(rng.choice((1, 1, 2, 3))):
        if not lines:
            break
        at = rng.randrange(len(lines)) if rng.random() < 0.8 else 0
        match rng.randrange(10):
            case 0:
                del lines[at]
            case 1:
                lines[at:at] = [lines[at]] * rng.choice((1, 3, 300))
            case 2:
                other = rng.randrange(len(lines))
                lines[at], lines[other] = lines[other], lines[at]
            case 3:
                lines[at] = rng.choice(
                    (b"\n", b"  \n", b"null\n", b"[]\n", b"{}\n", lines[at].rstrip())
                )
            case _:
                try:
                    value = json.loads(lines[at])
                except (ValueError, RecursionError):  # broken before
                    continue
                lines[at] = written(change(value, rng), rng) + b"\n"
    return b"".join(lines)


def change_toml(data: bytes, rng: random.Random) -> bytes:
    """A TOML file with other values, keys and tables."""
    if rng.random() < 0.2:
        return rng.choice((flip, tear))(data, rng)
    lines = data.decode().splitlines()
    for _ in range(rng.choice((1, 1, 2, 4))):
        at = rng.randrange(len(lines))
        key, equals, _ = lines[at].partition("=")
        match rng.randrange(8):
            case 0:
                del lines[at]
                lines = lines or [""]
            case 1:
                lines.insert(at, lines[rng.randrange(len(lines))])
            case 2:
                lines.insert(
                    at,
                    rng.choice(
                        (
                            "[front]",
                            "[[front]]",
                            "[cost]",
                            "[[cost.large]]",
                            "[ead]",
                            "[a.b.c.d]",
                            "[pair",
                            "[[pair]]",
                        )
                    ),
                )
            case 3:
                word = rng.choice((*STRINGS, *ESCAPES))
                lines.insert(at, f"{json.dumps(word)} = {_toml(rng)}")
            case 4 if equals:
                lines[at] = f"{key.strip()}{rng.choice(('s', '.x', '_', ' y'))} ={_toml(rng)}"
            case _ if equals:
                lines[at] = f"{key}= {_toml(rng)}"
    return "\n".join(lines).encode("utf-8", errors="surrogatepass")


def _toml(rng: random.Random) -> str:
    return rng.choice(
        (
            "-1", "0", "1e999", "inf", "-nan", "true", "1979-05-27T07:32:00Z", "0001-01-01",
            "9999-12-31", "00:00:00", "''", "{}",
            "[]", "[[]]", "{a = {b = {c = 1}}}", "'''\n'''", "0x7fffffffffffffff", "1_0",
            "[1, 'a', {}]", "[" * 500, "[" * 90 + "]" * 90,
            "9" * 400, "9" * 5000, "[" + "1, " * 3000 + "]", "0." + "1" * 400, "-0.0", "1e-320",
            json.dumps(rng.choice((*STRINGS, *ESCAPES))), f"{rng.choice((*NUMBERS, *HUGE))}",
        )
    )  # fmt: skip

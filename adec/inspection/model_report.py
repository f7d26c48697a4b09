"""A model from its header: what it is, how much memory it needs, which strategies it can serve."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from typing import Any

from adec.decoding.method import Method
from adec.decoding.registry import METHODS, shortcoming
from adec.display.wording import many, short, size
from adec.engines.base import ModelHeader
from adec.errors import UsageError
from adec.inspection.anatomy import Anatomy, dissect
from adec.inspection.exactness_facts import exactness_data, exactness_facts
from adec.inspection.part_facts import parts_data, parts_table
from adec.inspection.sheet import Block, Facts, Lines, Report, Table
from adec.models.names import locate

DEFAULT_CONTEXT = 8192
"""The most that `adec run` reserves when --ctx is not given."""
_TEMPLATE_SHOWN = 300


def inspect_model(name: str, context: int | None = None) -> Report:
    """Look at one model without loading it; memory is estimated for `context` tokens.

    Raises ModelFileError when it is broken or missing, UsageError when it has no context so long.
    """
    anatomy = dissect(locate(name))
    header = anatomy.header
    limit = header.info.context_limit
    if context is not None and context > limit:
        raise UsageError(
            f"{header.info.name} has no context of {context:,} tokens", hint=f"it reads {limit:,}"
        )
    data = {
        "type": "model",
        "schema": 1,
        **describe(header),
        "groups": [dataclasses.asdict(group) for group in anatomy.groups],
        "memory": memory(anatomy, context),
        "exactness": exactness_data(header),
        "parts": parts_data(header.info),
        "strategies": [serves(method, header) for method in METHODS.values()],
        "chat_template": header.vocabulary.chat_template,
    }
    return Report(data, _blocks(data, anatomy, shlex.quote(name)))


def describe(header: ModelHeader) -> dict[str, Any]:
    """The facts of a header as plain data."""
    info, vocabulary = header.info, header.vocabulary
    return {
        "name": info.name,
        "path": str(info.path),
        "format": info.format,
        "architecture": info.architecture,
        "layers": info.layers,
        "parameters": info.parameters,
        "quantisation": info.quantisation,
        "bytes": info.bytes,
        "context_limit": info.context_limit,
        "vocabulary": info.vocabulary,
        "vocabulary_fingerprint": vocabulary.fingerprint,
        "tokenizer": vocabulary.kind,
        "pre_tokenizer": vocabulary.pre_tokenizer,
        "begin": None if vocabulary.begin is None else vocabulary.name(vocabulary.begin),
        "adds_begin": vocabulary.adds_begin,
        "end": [vocabulary.name(token) for token in sorted(vocabulary.end)],
        "canvas": None
        if header.canvas is None
        else {
            "mask": vocabulary.name(header.canvas.mask),
            "shift": header.canvas.shift,
            "reuses": header.canvas.reuses,
        },
        "capabilities": sorted(header.capabilities),
        "missing": dict(header.missing),
        "remarks": list(header.remarks),
    }


def memory(anatomy: Anatomy, context: int | None = None) -> dict[str, Any]:
    """Bytes that a run needs: weights, and the KV cache at `context` tokens (default: a run's).

        weights    GGUF: as stored, mapped from the file
                   folder: 4 bytes a parameter (float32, the default on a CPU)
        cache      tokens x sum over layers of (KV heads x (key width + value width)) x bytes
                   GGUF: 2 bytes (f16), tokens rounded up to 256, reserved at loading
                   folder: 4 bytes, grows with the text

    The backend's working buffers come on top, and the state of recurrent layers, which does not
    grow with the context.
    """
    tokens = context or min(anatomy.header.info.context_limit, DEFAULT_CONTEXT)
    cache = anatomy.cache
    kv = None if cache is None else cache.bytes_at(tokens)
    each = None if cache is None else cache.numbers_per_token * cache.bytes_per_number
    return {
        "context": tokens,
        "weight_bytes": anatomy.weight_bytes,
        "kv_bytes": kv,
        "kv_bytes_per_token": each,
        "total_bytes": None if kv is None else anatomy.weight_bytes + kv,
        "kv_reserved_at_start": cache is not None and cache.reserved,
    }


def serves(method: Method, header: ModelHeader) -> dict[str, Any]:
    """Whether a model can serve a strategy: alone, in a pair, or not, and why not."""
    lacks = [why for needed in method.needs.values() if (why := shortcoming(header, needed))]
    how = "no" if lacks else "in a pair" if method.pair else "alone"
    return {"name": method.name, "serves": how, "why": lacks[0] if lacks else method.about}


def strategies_table(strategies: Sequence[dict[str, Any]]) -> Table:
    """Strategies, whether they can be served, and what they do or why not."""
    # what fits comes first: of a diffusion model that is the end of a long list
    fitting = sorted(strategies, key=lambda row: bool(row["serves"] == "no"))
    rows = [(row["name"], row["serves"], row["why"]) for row in fitting]
    return Table("Strategies", ("name", "serves", "what it does, or why not"), rows)


def _blocks(data: dict[str, Any], anatomy: Anatomy, name: str) -> list[Block]:
    begin = f"{data['begin'] or 'none'}{'' if data['adds_begin'] else ', not put before a text'}"
    rules = f", split by {data['pre_tokenizer']}" if data["pre_tokenizer"] else ""
    vocabulary = (
        f"{many(data['vocabulary'])} tokens ({data['tokenizer']}{rules}), "
        f"fingerprint {data['vocabulary_fingerprint']}"
    )
    facts = [
        ("file", data["path"]),
        ("format", data["format"]),
        ("architecture", data["architecture"]),
        ("layers", many(data["layers"])),
        ("parameters", f"{short(data['parameters'])} ({many(data['parameters'])})"),
        ("quantisation", data["quantisation"]),
        ("size", size(data["bytes"])),
        ("context", f"{many(data['context_limit'])} tokens"),
        ("vocabulary", vocabulary),
        ("begin", begin),
        *_canvas_facts(data["canvas"]),
        ("end", ", ".join(data["end"]) or "none: a run ends at its limit of tokens"),
        *(("remark", remark) for remark in data["remarks"]),
    ]
    rows = [
        (
            group.name,
            many(group.tensors),
            short(group.parameters),
            size(group.bytes),
            _types(group.types, group.parameters),
        )
        for group in anatomy.groups
    ]
    header = ("group", "tensors", "parameters", "size", "types")
    # a canvas is one batch of its own length, whatever the strategy
    exactness = (
        [Facts("Exactness on this machine", exactness_facts(data["exactness"], name))]
        if data["canvas"] is None
        else []
    )
    return [
        Facts(data["name"], facts),
        Table("Tensors", header, rows, frozenset({1, 2, 3})),
        *exactness,
        _memory_block(data["memory"], anatomy),
        *parts_table(data["parts"]),
        Lines("Chat template", _template(data["chat_template"])),
        strategies_table(data["strategies"]),
    ]


def _types(types: dict[str, int], whole: int) -> str:
    order = sorted(types.items(), key=lambda item: -item[1])
    if len(order) == 1:
        return order[0][0]
    return ", ".join(f"{kind} {100 * count / max(1, whole):.1f} %" for kind, count in order)


def _canvas_facts(canvas: dict[str, Any] | None) -> list[tuple[str, str]]:
    """How a diffusion model writes."""
    if canvas is None:
        return []
    row = "the row before it" if canvas["shift"] else "its own row"
    kept = "reused where a setting says so" if canvas["reuses"] else "computed anew every time"
    return [
        ("writes", f"a diffusion model: a canvas in any order, each position scored by {row}"),
        ("mask", str(canvas["mask"])),
        ("keys and values", kept),
    ]


def _memory_block(figures: dict[str, Any], anatomy: Anatomy) -> Block:
    title = f"Memory at {many(figures['context'])} tokens of context"
    rows = [("weights", size(figures["weight_bytes"]))]
    canvas = anatomy.header.canvas
    if canvas is not None and not canvas.reuses:
        return Facts(title, [*rows, ("cache", "none: every forward computes the whole canvas")])
    if figures["kv_bytes"] is None:
        return Facts(title, [*rows, ("cache", "the header does not say")])
    when = "reserved at the start" if figures["kv_reserved_at_start"] else "grows as it fills"
    each = f"{size(figures['kv_bytes_per_token'])} a token, {when}"
    recurrent = "recurrent" in anatomy.header.missing.get("tree", "")
    extra = ", and a state that does not grow" if recurrent else ""
    rows += [
        ("cache", f"{size(figures['kv_bytes'])} ({each})"),
        ("together", f"{size(figures['total_bytes'])}, plus working buffers{extra}"),
    ]
    limit = anatomy.header.info.context_limit
    if anatomy.cache is not None and limit > figures["context"]:
        full = anatomy.weight_bytes + anatomy.cache.bytes_at(limit)
        rows.append(("at its limit", f"{size(full)} with {many(limit)} tokens"))
    return Facts(title, rows)


def _template(template: str | None) -> list[str]:
    """The template's source, line by line: it is a program, so it is not run here."""
    if template is None:
        return ["none: the prompt is fed as it is"]
    lines = template[:_TEMPLATE_SHOWN].rstrip("\n").split("\n")
    if len(template) > _TEMPLATE_SHOWN:
        lines[-1] += f" … ({many(len(template))} characters; --json has all)"
    return lines

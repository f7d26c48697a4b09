"""Models and pairs, looked at from their headers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.engines.base import OpenOptions
from adec.engines.exactness.invariance import Invariance, Reach
from adec.engines.exactness.kept_invariance import keep_invariance
from adec.engines.opening import open_engine, read_header
from adec.inspection.anatomy import dissect, group_of
from adec.inspection.model_report import inspect_model
from adec.models.couples import expected_speed
from tests.cli.command import call
from tests.engines.gguf.tiny_gguf import write_tiny_gguf, write_tiny_mamba
from tests.engines.torch.tiny_folder import write_tiny_folder

Pair = tuple[Path, Path]


def test_a_models_figures_add_up(tiny_pair: Pair, capsys: Any) -> None:
    outcome = call(capsys, "inspect", tiny_pair[1], "--json")
    data = json.loads(outcome.out)
    assert (outcome.code, outcome.err, list(data)[:2]) == (0, "", ["type", "schema"])
    assert (data["type"], data["layers"], data["architecture"]) == ("model", 3, "llama")
    assert sum(group["parameters"] for group in data["groups"]) == data["parameters"]
    assert sum(group["bytes"] for group in data["groups"]) == data["memory"]["weight_bytes"]
    for group in data["groups"]:
        assert sum(group["types"].values()) == group["parameters"]
    assert {"token embedding", "attention", "feed-forward", "norms"} <= {
        group["name"] for group in data["groups"]
    }


def test_what_was_measured_of_its_exactness_is_shown(tiny_pair: Pair, capsys: Any) -> None:
    path = tiny_pair[1]
    bare = call(capsys, "inspect", path)
    assert "Exactness on this machine" in bare.out and f"adec calibrate {path}" in bare.out
    assert json.loads(call(capsys, "inspect", path, "--json").out)["exactness"] == []
    engine = open_engine(read_header(path), OpenOptions(context=64, threads=1))
    try:
        reaches = (
            Reach(256, (2, 3), (2,), (2, 3, 4)),
            Reach(1024, (2,), (), (2, 3, 4)),
            Reach(2048, (), (), (2, 3, 4)),
        )
        keep_invariance(engine, Invariance(reaches, (0.0, 0.1, 0.25, 0.43)))
    finally:
        engine.close()
    shown = " ".join(call(capsys, "inspect", path).out.split())
    for words in (
        "1 thread up to 256 tokens: bit for bit up to chains of 3 tokens and trees of 2 nodes",
        "257 to 1,024 tokens: bit for bit up to chains of 2 tokens, no trees",
        "1,025 to 2,048 tokens: no forward of several tokens is bit for bit",
        "0 (median), 0.1 (9 of 10), 0.25 (99 of 100), 0.43 (most)",
    ):
        assert words in shown
    (entry,) = json.loads(call(capsys, "inspect", path, "--json").out)["exactness"]
    assert entry["threads"] == 1 and entry["noise"]["0.99"] == 0.25
    assert [reach["chains_up_to"] for reach in entry["reaches"]] == [3, 2, 1]


def test_the_cache_is_what_llama_cpp_reserves(tmp_path: Path) -> None:
    """The formula against the engine: its state, filled, holds the cache and little more."""
    import ctypes

    path = write_tiny_gguf(tmp_path / "m.gguf", layers=3, heads=4, kv_heads=2, context=512)
    cache = dissect(path).cache
    assert cache is not None
    engine = open_engine(read_header(path), OpenOptions(context=512, threads=1, branches=1))
    try:
        session: Any = engine._session  # type: ignore[attr-defined]
        size = session.api.llama_state_seq_get_size
        size.restype = ctypes.c_size_t
        before = size(session.context, 0)
        engine.forward([1] * 100)
        grown = size(session.context, 0) - before
    finally:
        engine.close()
    # what the state adds beside keys and values is a position and a few counts a token
    assert 0 <= grown - 100 * cache.numbers_per_token * cache.bytes_per_number <= 100 * 64
    assert cache.bytes_at(1) == cache.bytes_at(256) == cache.bytes_at(257) // 2


def test_a_folder_and_a_file_of_one_model_agree(capsys: Any) -> None:
    gguf, folder = (inspect_model(name).data for name in ("practice:small", "practice:small-torch"))
    for key in ("parameters", "layers", "vocabulary_fingerprint", "context_limit", "end"):
        assert gguf[key] == folder[key]
    # float32 against f16, and 1,024 tokens are a multiple of 256
    assert folder["memory"]["kv_bytes"] == 2 * gguf["memory"]["kv_bytes"]
    ours, theirs = ({g["name"]: g["parameters"] for g in d["groups"]} for d in (gguf, folder))
    assert ours["attention"] == theirs["attention"]


def test_a_recurrent_model_says_what_it_cannot_serve(tmp_path: Path, capsys: Any) -> None:
    path = write_tiny_mamba(tmp_path / "mamba.gguf")
    data = json.loads(call(capsys, "inspect", path, "--json").out)
    serves = {row["name"]: row for row in data["strategies"]}
    assert serves["plain"]["serves"] == "alone"
    assert serves["speculate"]["serves"] == "alone"
    assert serves["adadec"]["serves"] == "no" and "recurrent" in serves["adadec"]["why"]
    assert data["memory"]["kv_bytes"] is None
    text = call(capsys, "inspect", path).out
    assert "the header does not say" in text and "its layers are recurrent" in text


def test_a_long_context_is_refused_and_a_short_one_counted(tiny_pair: Pair, capsys: Any) -> None:
    outcome = call(capsys, "inspect", tiny_pair[0], "--ctx", 9999)
    assert (outcome.code, outcome.out) == (2, "") and "it reads 2,048" in outcome.err.lower()
    half, whole = (
        json.loads(call(capsys, "inspect", tiny_pair[0], "--ctx", n, "--json").out)["memory"]
        for n in (512, 1024)
    )
    assert 2 * half["kv_bytes"] == whole["kv_bytes"]


def test_names_in_a_file_cannot_reach_the_terminal(tmp_path: Path, capsys: Any) -> None:
    path = write_tiny_gguf(
        tmp_path / "m.gguf", name="evil\x1b[2J\u202ename", chat_template="a\x1b]0;t\x07"
    )
    for more in ((), ("--json",), ("--color", "never")):
        out = call(capsys, "inspect", path, *more).out
        assert "\x1b" not in out and "\x07" not in out and "\u202e" not in out


def test_a_template_is_shown_line_by_line(tmp_path: Path, capsys: Any) -> None:
    lines = ["{% for m in messages %}", "  {{ m.content }}", "", "{% endfor %}"]
    path = write_tiny_gguf(tmp_path / "m.gguf", chat_template="\n".join(lines) + "\n")
    out = call(capsys, "inspect", path).out.split("\n")
    place = out.index("Chat template")
    assert out[place + 1 : place + 5] == lines
    path = write_tiny_gguf(tmp_path / "long.gguf", chat_template="x" * 1000)
    assert f"{'x' * 300} … (1,000 characters; --json has all)" in call(capsys, "inspect", path).out


def test_a_pair_that_fits(tiny_pair: Pair, capsys: Any) -> None:
    for arguments in (tiny_pair, ("--small", tiny_pair[0], "--large", tiny_pair[1])):
        data = json.loads(call(capsys, "inspect", *arguments, "--json").out)
        assert (data["type"], data["compatible"], data["differences"]) == ("pair", True, [])
        assert 0 < data["cost_ratio"]["bytes"] < 1
        assert {row["serves"] for row in data["strategies"]} >= {"yes", "large alone"}
    out = call(capsys, "inspect", *tiny_pair).out
    assert "yes: both mean the same" in out and "2211.17192" in out


def test_a_pair_that_does_not_fit_says_where(tiny_pair: Pair, tmp_path: Path, capsys: Any) -> None:
    other = write_tiny_gguf(tmp_path / "other.gguf", merges=("e s", "a t"))
    outcome = call(capsys, "inspect", other, tiny_pair[1])
    assert outcome.code == 0 and "id 256 is 'es'" in outcome.out
    assert "\nby text only, with speculate or ead or smartspec or " in outcome.out
    assert "What exact speculation" not in outcome.out
    data = json.loads(call(capsys, "inspect", other, tiny_pair[1], "--json").out)
    serves = {row["name"]: row["serves"] for row in data["strategies"]}
    assert (serves["ead"], serves["lookup"], serves["cascade"]) == ("yes", "large alone", "no")


def test_the_practice_pair_by_its_profile(capsys: Any) -> None:
    data = json.loads(call(capsys, "inspect", "--pair", "practice", "--json").out)
    assert data["compatible"] and data["profile"]["fits"]


@given(st.floats(0, 1), st.floats(0.01, 2), st.integers(0, 16))
def test_the_expectation_is_the_sum_it_stands_for(chance: float, ratio: float, drafts: int) -> None:
    """Tokens of a round: one always, and the i-th draft when all up to it stand."""
    tokens = 1 + sum(chance**i for i in range(1, drafts + 1))
    speed = expected_speed(chance, drafts, ratio, lambda tokens: 1.0)
    assert speed == pytest.approx(tokens / (drafts * ratio + 1))


@pytest.mark.parametrize(
    ("name", "group"),
    [
        ("token_embd.weight", "token embedding"),
        ("output.weight", "output head"),
        ("output_norm.weight", "norms"),
        ("blk.0.attn_q.weight", "attention"),
        ("blk.0.attn_output.weight", "attention"),
        ("blk.0.attn_norm.weight", "norms"),
        ("blk.0.ffn_up_exps.weight", "experts"),
        ("blk.0.ffn_down.weight", "feed-forward"),
        ("blk.0.ssm_in.weight", "recurrent state"),
        ("model.layers.0.self_attn.q_proj.weight", "attention"),
        ("model.layers.0.mlp.experts.3.up_proj.weight", "experts"),
        ("model.layers.0.input_layernorm.weight", "norms"),
        ("lm_head.weight", "output head"),
        ("transformer.wte.weight", "token embedding"),
        ("something.else", "other"),
    ],
)
def test_tensors_find_their_groups(name: str, group: str) -> None:
    assert group_of(name) == group


def test_a_tiny_folder(tmp_path: Path, capsys: Any) -> None:
    folder = write_tiny_folder(tmp_path / "model", layers=2, heads=4, kv_heads=2, width=64)
    data = json.loads(call(capsys, "inspect", folder, "--json").out)
    assert data["memory"]["kv_bytes_per_token"] == 2 * 2 * 2 * 16 * 4


COSTS = {"large": {1: 10.0, 2: 11.0, 4: 12.0, 8: 20.0}, "small": {1: 1.0, 2: 1.5}}


def write_profile(path: Path, small: Path, large: Path, **machine: object) -> None:
    """A profile that was made for these two files on this machine, but for what `machine` says."""
    from adec.engines.opening import read_header
    from adec.machine import file_fingerprint, this_machine

    here = this_machine(read_header(large).info.format)
    facts = {name: getattr(here, name) for name in ("system", "processor", "cores", "backend")}
    lines = ["schema = 1", "[pair]", f'small = "{small}"', f'large = "{large}"']
    lines += [
        f'{role}_fingerprint = "{file_fingerprint(file)}"'
        for role, file in (("small", small), ("large", large))
    ]
    lines += [
        "[machine]",
        *(f"{name} = {json.dumps(value)}" for name, value in {**facts, **machine}.items()),
    ]
    lines += ["[signals]", "agreement = 0.875", "[cost]", "context = 40"]
    for role, column in COSTS.items():
        lines += [
            f"[[cost.{role}]]",
            "context = 40",
            f"sizes = {list(column)}",
            f"ms = {list(column.values())}",
        ]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def test_a_pair_is_judged_by_what_was_measured_of_it_here(
    tiny_pair: Pair, home: Path, capsys: Any
) -> None:
    write_profile(home / "profiles" / "mine.toml", *tiny_pair)
    data = json.loads(call(capsys, "inspect", *tiny_pair, "--json").out)
    assert data["profile"]["name"] == "mine" and data["profile"]["void"] is None
    assert data["cost_ratio"]["measured"] == pytest.approx(0.1) and data["agreement"] == 0.875
    row = next(row for row in data["expected"] if row["acceptance"] == 0.875)
    # three drafts: 1 + a + a^2 + a^3 tokens in 3 small forwards and one large one of four tokens
    assert row["drafts"] == 3
    assert row["speed_up"] == pytest.approx(10 * sum(0.875**i for i in range(4)) / (3 + 12))
    # one draft pays from 10 (1 + a) > 1 + 11 on, three from 10 (1 + a + a^2 + a^3) > 15
    assert 0.2 < data["pays_from"] <= 0.21
    text = call(capsys, "inspect", *tiny_pair).out
    assert "measured on this machine" in text and "as calibration saw" in text


def test_times_of_another_machine_are_not_used(tiny_pair: Pair, home: Path, capsys: Any) -> None:
    write_profile(home / "profiles" / "mine.toml", *tiny_pair, processor="an abacus")
    data = json.loads(call(capsys, "inspect", *tiny_pair, "--json").out)
    assert "abacus" in data["profile"]["void"] and "measured" not in data["cost_ratio"]
    assert data["pays_from"] == min(1.0, data["cost_ratio"]["bytes"])
    text = call(capsys, "inspect", *tiny_pair).out
    assert "do not hold here: machine.processor is an abacus" in text and "taken from sizes" in text

"""A listing knows every model by its header, remembers it, and says which go together."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from adec.decoding.pair.clock.cost_curve import CostCurve
from adec.decoding.pair.clock.kept_curve import keep_curve, kept_curve_of
from adec.engines.base import OpenOptions
from adec.engines.llama.gguf.gguf_header import read_gguf_header
from adec.engines.llama.gguf.gguf_reader import KnownStrings, read_gguf
from adec.engines.opening import open_engine, read_header
from adec.engines.pair import differences
from adec.errors import PairError
from adec.inspection.model_list import inspect_models
from adec.models import couples as couples_module
from adec.models import listing as listing_module
from adec.models.couples import (
    couples,
    couples_by_text,
    greatest_gain,
    misfits,
    partner,
    small_for,
)
from adec.models.headers import ManyHeaders, weights_read
from adec.models.listing import ListedModel, Listing, save_names
from adec.models.stores import Found, Surroundings
from tests.engines.gguf.tiny_gguf import (
    RawGguf,
    byte_level_vocabulary,
    write_parts,
    write_tiny_gguf,
)
from tests.engines.torch.tiny_folder import write_tiny_folder

OTHER = byte_level_vocabulary(control=("<|endoftext|>", "<|im_start|>", "<|other|>"))


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three models of one family, one of which has another vocabulary, a stranger, and ruins."""
    folder = tmp_path_factory.mktemp("here")
    write_tiny_gguf(folder / "tiny-1b.gguf", layers=1, seed=1)
    write_tiny_gguf(folder / "tiny-3b.gguf", layers=3, seed=2)
    write_tiny_gguf(folder / "tiny-9b.gguf", layers=9, seed=3, vocabulary=OTHER)
    write_tiny_folder(folder / "folder")
    (folder / "page.gguf").write_text("<!DOCTYPE html>")
    (folder / "short.gguf").write_bytes((folder / "tiny-1b.gguf").read_bytes()[:5000])
    (folder / "broken").mkdir()
    (folder / "broken" / "config.json").write_text("{")
    (folder / "broken" / "model.safetensors").touch()
    return folder


@pytest.fixture
def around(here: Path, tmp_path: Path) -> Surroundings:
    return Surroundings({}, tmp_path, here)


def by_name(listing: Listing) -> dict[str, ListedModel]:
    return {model.name: model for model in listing.models}


def test_cards_say_what_the_header_says(around: Surroundings) -> None:
    models = by_name(Listing(around))
    for name in ("tiny-1b", "folder", "practice:small"):
        card, info = models[name].card, read_header(models[name].found.path).info
        assert (card.title, card.parameters) == (info.name, info.parameters)
        assert (card.format, card.file_bytes) == (info.format, info.bytes)
        assert card.rewinds
        assert card.problem is None
    for name, said in (("page", "web page"), ("short", "it has a tensor name"), ("broken", "JSON")):
        problem = models[name].problem
        assert problem is not None
        assert said in problem
        assert "\n" not in problem


def test_keys_of_vocabularies_are_equal_where_nothing_differs(around: Surroundings) -> None:
    models = [m for m in Listing(around).models if m.problem is None]
    vocabularies = {m.name: read_header(m.found.path).vocabulary for m in models}
    for one in models:
        for other in models:
            assert one.card.tokens is not None and other.card.tokens is not None
            same = not differences(vocabularies[one.name], vocabularies[other.name])
            if one.card.tokens.key == other.card.tokens.key:
                assert same
            assert (Listing(around).difference(one, other) == "") == same


def test_a_second_listing_reads_no_header(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Listing(around)
    pairs, wrong = couples(first), misfits(first)
    with monkeypatch.context() as patched:
        patched.setattr(ManyHeaders, "_read", None)
        second = Listing(around)
        assert second.models == first.models
        assert couples(second) == pairs
        assert misfits(second) == wrong


def test_a_split_model_is_listed_once_and_read_again_when_its_last_part_arrives(
    here: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "parts"
    folder.mkdir()
    last = write_parts(here / "tiny-1b.gguf", folder, 3).with_name("m-00003-of-00003.gguf")
    content = last.read_bytes()
    last.unlink()
    around = Surroundings({}, tmp_path, folder)
    own = [model for model in Listing(around).models if model.found.path.parent == folder]
    assert ["is missing" in str(model.problem) for model in own] == [True]
    last.write_bytes(content)
    (model,) = (model for model in Listing(around).models if model.found.path.parent == folder)
    assert model.problem is None
    assert model.card.parameters == read_header(here / "tiny-1b.gguf").info.parameters


def test_a_changed_file_is_read_again(around: Surroundings, tmp_path: Path) -> None:
    shutil.copytree(around.here, tmp_path / "copy")
    moved = Surroundings({}, around.home, tmp_path / "copy")
    assert by_name(Listing(moved))["page"].problem
    shutil.copy(around.here / "tiny-1b.gguf", moved.here / "page.gguf")
    assert by_name(Listing(moved))["page"].problem is None
    (moved.here / "folder" / "tokenizer.json").write_text("{}")
    assert by_name(Listing(moved))["folder"].problem


@pytest.mark.parametrize("text", ["", "{", "[" * 50_000, '{"adec": 1}', '{"cards": {"/x": 3}}'])
def test_a_broken_cache_is_made_anew(around: Surroundings, home: Path, text: str) -> None:
    file = home / "listing" / "models.json"
    file.parent.mkdir()
    file.write_text(text)
    fresh = Listing(around)
    assert by_name(fresh)["tiny-1b"].problem is None
    assert file.read_text() != text


def test_a_cache_that_cannot_be_written_is_done_without(around: Surroundings, home: Path) -> None:
    (home / "listing").touch()
    assert by_name(Listing(around))["tiny-1b"].problem is None


def test_what_was_read_before_does_not_change_a_header(here: Path) -> None:
    known = KnownStrings()
    for path in sorted(here.glob("tiny-*.gguf")) * 2:
        plain = read_gguf(path, keep=("tokenizer.ggml.tokens",))
        assert read_gguf(path, keep=("tokenizer.ggml.tokens",), known=known) == plain


def test_arrays_that_begin_alike_are_told_apart(tmp_path: Path) -> None:
    """Large enough to be recognised by their bytes; the last token differs."""
    known, seen = KnownStrings(), []
    for last in ("one", "two", "one"):
        tokens = [f"w{i}" for i in range(5000)] + [last * (200 if last == "two" else 1)]
        raw = RawGguf(pairs=[(b"a", 9, (8, [token.encode() for token in tokens]))])
        path = raw.write(tmp_path / "x.gguf")
        array = read_gguf(path, keep=("a",), known=known).array("a")
        assert array is not None and array.strings is not None
        assert array.strings == tuple(token.encode() for token in tokens)
        seen.append(array.strings)
    assert seen[0] is seen[2]


@pytest.mark.parametrize("strange", [b"", b"\0" * 9, b"x" * 300, b"a" + bytes(7), bytes(70_000)])
def test_strings_of_any_bytes_and_length_are_read(tmp_path: Path, strange: bytes) -> None:
    elements = ([b"plain"] * 700 + [strange]) * 40
    path = RawGguf(pairs=[(b"a", 9, (8, elements))]).write(tmp_path / "x.gguf")
    array = read_gguf(path, keep=("a",)).array("a")
    assert array is not None
    assert array.strings == tuple(elements)


def test_pairs_come_best_first_and_misfits_with_a_reason(around: Surroundings) -> None:
    listing = Listing(around)
    named = [(c.small.name, c.large.name) for c in couples(listing)]
    assert named[0] == ("tiny-1b", "tiny-3b")
    assert ("practice:small", "practice:large") in named
    assert not any("tiny-9b" in pair for pair in named)
    gains = [c.greatest_gain for c in couples(listing) if not c.large.name.startswith("practice")]
    assert gains == sorted(gains, reverse=True)
    said = {(m.small.name, m.large.name): m.why for m in misfits(listing)}
    assert set(said) == {("tiny-1b", "tiny-9b")}
    assert "'<|im_end|>'" in said["tiny-1b", "tiny-9b"]


def test_too_many_vocabularies_are_compared_in_several_listings(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listing_module, "MOST_COMPARED", 0)
    listing = Listing(around)
    models = by_name(listing)
    assert listing.difference(models["tiny-1b"], models["tiny-9b"]) is None
    assert "not compared yet" in misfits(listing)[0].why


def test_the_greatest_gain_is_a_bound() -> None:
    """(k + 1) / (k c + 1) grows with k, and falls with c, below 1 / c."""
    assert greatest_gain(1.0) == 1.0
    assert greatest_gain(0.0) == 17.0
    for ratio in (0.05, 0.3, 0.7):
        assert 1 < greatest_gain(ratio) < 1 / ratio
        shorter = [(k + 1) / (k * ratio + 1) for k in range(16)]
        assert greatest_gain(ratio) > max(shorter)


def test_auto_takes_the_best_partner_and_says_so(around: Surroundings) -> None:
    listing = Listing(around)
    path, remark = partner(around.here / "tiny-3b.gguf", listing)
    assert path == around.here / "tiny-1b.gguf"
    assert "took tiny-1b" in remark
    with pytest.raises(PairError, match="no model on this machine can draft for tiny-1b"):
        partner(around.here / "tiny-1b.gguf", listing)
    with pytest.raises(PairError, match="page"):
        partner(around.here / "page.gguf", listing)


def test_where_no_sibling_lies_here_auto_takes_one_of_another_vocabulary_with_a_forecast(
    around: Surroundings, monkeypatch: pytest.MonkeyPatch
) -> None:
    listing = Listing(around)
    path, remark = partner(around.here / "tiny-9b.gguf", listing)
    assert path == around.here / "tiny-1b.gguf"
    assert "of another vocabulary, which drafts by text" in remark and "bytes" in remark
    flat = CostCurve({1: 10.0, 17: 10.0})
    monkeypatch.setattr(couples_module, "kept_curve_of", lambda info: flat)
    assert "forward times kept here" in partner(around.here / "tiny-9b.gguf", listing)[1]
    # a batch that costs what its tokens cost one by one
    steep = CostCurve({1: 10.0, 17: 170.0})
    monkeypatch.setattr(couples_module, "kept_curve_of", lambda info: steep)
    with pytest.raises(PairError, match="tiny-1b is not expected to pay") as caught:
        partner(around.here / "tiny-9b.gguf", listing)
    assert "--small tiny-1b" in (caught.value.hint or "")


def test_couples_by_text_are_of_unlike_vocabularies_and_built_in_models_are_in_none(
    around: Surroundings,
) -> None:
    listing = Listing(around)
    like = {(c.small.name, c.large.name) for c in couples(listing)}
    unlike = {(c.small.name, c.large.name) for c in couples_by_text(listing)}
    assert ("tiny-1b", "tiny-9b") in unlike and not unlike & like
    assert not any("practice" in name for pair in unlike for name in pair)
    assert all(c.by_text for c in couples_by_text(listing))


def test_times_are_found_for_a_model_that_is_not_loaded(around: Surroundings, home: Path) -> None:
    path = around.here / "tiny-3b.gguf"
    info = read_header(path).info
    assert kept_curve_of(info) is None
    pytest.importorskip("llama_cpp")
    engine = open_engine(read_header(path), OpenOptions(context=64, threads=1))
    try:
        keep_curve(engine, CostCurve({1: 2.0, 4: 3.0}))
    finally:
        engine.close()
    found = kept_curve_of(info)
    assert found is not None and found.points == {1: 2.0, 4: 3.0}


def test_auto_serves_a_model_that_no_listing_has(
    around: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = shutil.copy(around.here / "tiny-3b.gguf", tmp_path / "away.gguf")
    path, _ = partner(Path(away), Listing(around))
    assert path == around.here / "tiny-1b.gguf"
    monkeypatch.chdir(around.here)
    assert small_for("tiny-1b", Path(away)) == (around.here / "tiny-1b.gguf", [])


def test_weights_that_a_token_reads(tmp_path: Path) -> None:
    dense = read_gguf(write_tiny_gguf(tmp_path / "d.gguf"))
    embedding = dense.tensors["token_embd.weight"].bytes
    assert weights_read(dense) == sum(t.bytes for t in dense.tensors.values()) - embedding
    mixed = read_gguf(write_tiny_gguf(tmp_path / "m.gguf", experts=8))
    experts = sum(t.bytes for t in mixed.tensors.values() if "_exps" in t.name)
    rest = sum(t.bytes for t in mixed.tensors.values()) - experts
    assert weights_read(mixed) == rest - mixed.tensors["token_embd.weight"].bytes + experts / 4


def test_only_names_that_are_safe_in_a_shell_are_offered(home: Path) -> None:
    hostile = ["$(touch x)", "a b", "`x`", "-n", "x\ny", "semi;colon", "\x1b[31m", "é"]
    fine = ["llama3.2:1b", "Qwen/Qwen2.5-0.5B_q4+x@1"]
    save_names([Found(name, Path("/"), "x") for name in (*hostile, *fine)])
    assert (home / "listing" / "names").read_text().splitlines() == sorted(fine)


def test_the_report_has_every_model_once(
    around: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(around.here)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HF_HOME", "HF_HUB_CACHE", "XDG_CACHE_HOME", "OLLAMA_MODELS", "LLAMA_CACHE"):
        monkeypatch.delenv(name, raising=False)
    data = inspect_models().data
    names = [model["name"] for model in data["models"]]
    assert len(names) == len(set(names))
    assert {"tiny-1b", "page", "broken", "folder", "practice:large"} <= set(names)
    assert {"small": "tiny-1b", "large": "tiny-9b"}.items() <= data["misfits"][0].items()
    (by_text,) = (
        p for p in data["pairs_by_text"] if p["large"] == "tiny-9b" and p["small"] == "tiny-1b"
    )
    assert by_text["forecast"] >= 1 and not by_text["forecast_measured"]


def test_an_unreadable_file_is_a_line(around: Surroundings, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root reads everything")
    locked = tmp_path / "locked"
    shutil.copytree(around.here, locked)
    (locked / "tiny-1b.gguf").chmod(0)
    models = by_name(Listing(Surroundings({}, around.home, locked)))
    assert "cannot be read" in (models["tiny-1b"].problem or "")


def test_headers_read_one_after_another_are_those_read_alone(here: Path) -> None:
    many = ManyHeaders()
    for path in (*sorted(here.glob("tiny-*.gguf")), here / "folder") * 2:
        assert many.vocabulary(path) == read_header(path).vocabulary
    assert read_gguf_header(here / "tiny-1b.gguf").info.name == "tiny"

"""The llama.cpp engine keeps the contract, and what is particular to it."""

from __future__ import annotations

import ctypes
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adec.answering.text import text_of
from adec.engines.base import ModelHeader, OpenOptions
from adec.engines.exactness.bitwise import BitwiseEngine
from adec.engines.exactness.invariance import Invariance, Reach
from adec.engines.llama.branches import likeliest_first
from adec.engines.llama.gguf.gguf_header import read_gguf_header
from adec.errors import EngineError
from adec.machine import usable_cores
from adec.signals import ArrayScores
from adec.tree import ROOT, TokenTree
from tests.engines.contract import EngineContract, assert_rows_equal, log_probabilities
from tests.engines.gguf.test_gguf_header import sentencepiece
from tests.engines.gguf.tiny_gguf import RawGguf, write_parts, write_tiny_gguf

pytest.importorskip("llama_cpp")
from adec.engines.llama import llama_library
from adec.engines.llama.llama_context import SpareRows
from adec.engines.llama.llama_engine import LlamaEngine

OPTIONS = OpenOptions(context=1024, threads=1, branches=8)
# the cache holds float16, so batches of another shape differ in the third digit; a wrong mask in
# the first
TOLERANCE = 3e-2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gguf")


@pytest.fixture(scope="module")
def header(folder: Path) -> ModelHeader:
    return read_gguf_header(write_tiny_gguf(folder / "tiny.gguf"))


@pytest.fixture(scope="module")
def windowed(folder: Path) -> ModelHeader:
    return read_gguf_header(write_tiny_gguf(folder / "windowed.gguf", swa=4))


@pytest.fixture
def engine(header: ModelHeader) -> Iterator[LlamaEngine]:
    engine = LlamaEngine.open(header, OPTIONS)
    yield engine
    engine.close()


Fresh = Callable[[], LlamaEngine]


def factory(header: ModelHeader) -> Iterator[Fresh]:
    # one engine stays open so that the weights are loaded once
    opened = [LlamaEngine.open(header, OPTIONS)]

    def open_one() -> LlamaEngine:
        if len(opened) > 20:
            opened.pop(1).close()
        opened.append(LlamaEngine.open(header, OPTIONS))
        return opened[-1]

    yield open_one
    for engine in opened:
        engine.close()


class TestLlamaEngine(EngineContract):
    tolerance = TOLERANCE

    @pytest.fixture
    def fresh(self, header: ModelHeader) -> Iterator[Fresh]:
        yield from factory(header)


class TestLlamaEngineWithinMeasuredSizes(EngineContract):
    """The same engine behind `BitwiseEngine`, with trees that are run whole and path by path."""

    tolerance = TOLERANCE
    examples = 10

    @pytest.fixture(params=[(2, 3, 4, 8), ()], ids=["trees", "paths"])
    def fresh(self, header: ModelHeader, request: pytest.FixtureRequest) -> Iterator[Fresh]:
        found = Invariance((Reach(1024, (2, 3, 8), request.param),), (0.0,) * 4)
        engines = factory(header)
        make = next(engines)

        def guarded() -> BitwiseEngine:
            engine = BitwiseEngine(make())
            engine.plan_within(found)
            return engine

        yield guarded
        next(engines, None)


class TestLlamaEngineWithSlidingWindow(EngineContract):
    tolerance = TOLERANCE
    examples = 10

    @pytest.fixture
    def fresh(self, windowed: ModelHeader) -> Iterator[Fresh]:
        yield from factory(windowed)


def cells(engine: LlamaEngine, sequence: int = 0) -> int:
    """Tokens of a sequence by llama.cpp's own account."""
    session = engine._session
    return int(session.api.llama_memory_seq_pos_max(session.memory, sequence)) + 1


def rows_after(header: ModelHeader, tokens: list[int], rows: int) -> object:
    other = LlamaEngine.open(header, OPTIONS)
    result = log_probabilities(other.forward(tokens, rows=rows))
    other.close()
    return result


FORK = TokenTree([10, 11, 12, 13, 14], [ROOT, 0, 0, ROOT, 3])


def test_lengths_are_llama_cpps(engine: LlamaEngine) -> None:
    engine.forward([1, 2, 3])
    assert engine.length == cells(engine) == 3
    engine.forward_tree(FORK)
    assert engine.length == cells(engine) == 3
    assert [cells(engine, branch) for branch in (1, 2, 3, 4)] == [5, 5, 5, 0]
    engine.keep([0, 2])
    assert engine.length == cells(engine) == 5
    assert [cells(engine, branch) for branch in (1, 2, 3, 4)] == [3, 3, 3, 0]
    engine.forward_tree(TokenTree.chain([4, 5, 6]))
    assert engine.length == 5
    engine.keep([0])
    assert engine.length == cells(engine) == 6
    engine.forward_tree(FORK)
    engine.rewind(4)
    assert [cells(engine, branch) for branch in range(5)] == [4, 4, 4, 4, 0]
    engine.rewind(2)
    assert [cells(engine, branch) for branch in range(5)] == [2, 2, 2, 2, 0]
    engine.forward([7, 8])
    engine.forward_tree(FORK)
    engine.keep([])
    assert engine.length == cells(engine) == 4
    engine.rewind(0)
    assert engine.length == cells(engine) == 0


def test_more_leaves_than_branches_change_nothing(header: ModelHeader) -> None:
    engine = LlamaEngine.open(header, OpenOptions(context=256, threads=1, branches=2))
    engine.forward([1, 2])
    with pytest.raises(EngineError, match="3 leaves; 2 are reserved"):
        engine.forward_tree(FORK)
    assert engine.length == cells(engine) == 2
    assert len(engine.forward([3])) == 1
    engine.close()


def test_trees_fill_the_context_to_the_last_cell(header: ModelHeader) -> None:
    engine = LlamaEngine.open(header, OpenOptions(context=256, threads=1, branches=64))
    engine.forward([1] * 192, rows=0)
    wide = TokenTree(list(range(64)), [ROOT] * 64)
    assert len(engine.forward_tree(wide)) == 64
    engine.keep([63])
    with pytest.raises(EngineError, match="full"):
        engine.forward_tree(wide)
    engine.forward([1] * 63, rows=0)
    assert engine.length == cells(engine) == 256
    with pytest.raises(EngineError, match="full"):
        engine.forward([1])
    engine.close()


def test_the_likeliest_path_is_laid_first_and_rivals_behind_it() -> None:
    tree = TokenTree()
    rival = tree.add(ROOT, 1, 0.3)
    best = tree.add(ROOT, 2, 0.7)
    below_rival = tree.add(rival, 3, 1.0)
    first, second = tree.add(best, 4, None), tree.add(best, 5, None)
    assert likeliest_first(tree) == [best, first, second, rival, below_rival]


def order_of_cells(engine: LlamaEngine) -> list[int]:
    """Positions of sequence 0 by cell, from llama.cpp's own saved state of the sequence."""
    session = engine._session
    size = session.api.llama_state_seq_get_size(session.context, 0)
    state = (ctypes.c_uint8 * size)()
    assert session.api.llama_state_seq_get_data(session.context, state, size, 0) == size
    raw = bytes(state)
    assert int.from_bytes(raw[12:16], "little") == engine.length, raw[:32]
    positions, at = [], 16
    for _ in range(engine.length):
        positions.append(int.from_bytes(raw[at : at + 4], "little"))
        at += 12  # a position, a number of sequences, the sequence
    return positions


def test_cells_of_the_trunk_stay_in_order_whatever_path_is_kept(engine: LlamaEngine) -> None:
    @settings(deadline=None)
    @given(st.data())
    def holds(data: st.DataObject) -> None:
        engine.rewind(0)
        engine.forward([1, 2, 3])
        for _ in range(data.draw(st.integers(1, 6))):
            size = data.draw(st.integers(1, 8))
            parents = [data.draw(st.integers(ROOT, node - 1)) for node in range(size)]
            tree = TokenTree([5] * size, parents)
            engine.forward_tree(tree)
            if data.draw(st.booleans()) and size < 8:
                tree.add(data.draw(st.integers(ROOT, size - 1)), 6)
                engine.forward_tree(tree, first_row=size)
            engine.keep(tree.path(data.draw(st.integers(ROOT, len(tree) - 1))))
            if data.draw(st.booleans()):
                engine.rewind(max(1, engine.length - data.draw(st.integers(0, 3))))
        assert order_of_cells(engine) == list(range(engine.length))
        assert engine.in_order

    holds()


def test_cells_of_rejected_nodes_are_given_back_where_the_context_runs_short(
    header: ModelHeader,
) -> None:
    engine = LlamaEngine.open(header, OpenOptions(context=256, threads=1, branches=8))
    engine.forward([1] * 200, rows=0)
    engine.forward_tree(FORK)
    engine.keep([3, 4])
    assert engine.in_order
    engine.forward([7] * 51, rows=0)
    assert engine.in_order
    engine.forward([7])
    engine.forward([7])
    assert engine.length == cells(engine) == 255
    assert not engine.in_order
    engine.forward([7])
    assert engine.length == 256
    engine.rewind(0)
    assert engine.in_order
    engine.close()


def test_malformed_trees_are_refused(engine: LlamaEngine) -> None:
    engine.forward([1])
    for tree in (TokenTree([1, 2], [1, ROOT]), TokenTree([1, 2], [ROOT, 5])):
        with pytest.raises(EngineError):
            engine.forward_tree(tree)
    with pytest.raises(EngineError):
        engine.forward_tree(TokenTree.chain([1] * 600))
    assert engine.length == cells(engine) == 1


@pytest.mark.parametrize("code", [1, 2, -1, -3])
@pytest.mark.parametrize("really", [True, False])
def test_a_failure_in_c_restores_the_sequence(
    header: ModelHeader, engine: LlamaEngine, code: int, really: bool
) -> None:
    engine.forward([1, 2, 3])
    decode = engine._decode

    def fail(context: object, batch: object) -> int:
        if really:  # what was added before the failure stays in llama.cpp's memory
            decode(context, batch)
        return code

    engine._decode = fail
    for call in (
        lambda: engine.forward([4]),
        lambda: engine.forward([4] * 600, rows=2),
        lambda: engine.forward_tree(FORK),
        lambda: engine.forward_tree(TokenTree.chain([4, 5])),
    ):
        with pytest.raises(EngineError, match=r"llama\.cpp failed on tiny"):
            call()
        assert engine.length == cells(engine) == 3
        assert not any(cells(engine, branch) for branch in range(1, 9))
    engine._decode = decode
    row = log_probabilities(engine.forward([5]))
    assert_rows_equal(row, rows_after(header, [1, 2, 3, 5], 1), TOLERANCE)


def test_an_interrupt_restores_the_sequence(engine: LlamaEngine) -> None:
    engine.forward([1, 2, 3])
    decode = engine._decode

    def interrupt(context: object, batch: object) -> int:
        decode(context, batch)
        raise KeyboardInterrupt

    engine._decode = interrupt
    for call in (lambda: engine.forward([4]), lambda: engine.forward_tree(FORK)):
        with pytest.raises(KeyboardInterrupt):
            call()
        assert engine.length == cells(engine) == 3


def test_llama_cpps_own_error_is_in_the_message(engine: LlamaEngine) -> None:
    engine.forward([1, 2, 3])
    engine._held += [0] * 4  # a gap that llama.cpp itself refuses
    with pytest.raises(EngineError, match=r"invalid batch\): .*"):
        engine.forward([4])


def test_engines_on_one_file_share_its_weights(header: ModelHeader, folder: Path) -> None:
    before = len(llama_library._models)
    link = folder / "link.gguf"
    link.symlink_to(header.info.path)
    first = LlamaEngine.open(header, OPTIONS)
    second = LlamaEngine.open(read_gguf_header(link), OPTIONS)
    assert first._session.model is second._session.model
    assert len(llama_library._models) == before + 1
    first.forward([1, 2])
    assert second.length == 0
    first.close()
    assert len(second.forward([1])) == 1
    second.close()
    assert len(llama_library._models) == before


def test_an_engine_that_is_dropped_is_freed(header: ModelHeader) -> None:
    before = len(llama_library._models)
    engine = LlamaEngine.open(header, OPTIONS)
    del engine
    assert len(llama_library._models) == before


def test_refused_options_leave_nothing_behind(header: ModelHeader) -> None:
    before = len(llama_library._models)
    for options in (
        OpenOptions(context=-1),
        OpenOptions(context=4096),
        OpenOptions(branches=0),
        OpenOptions(branches=65),
        OpenOptions(threads=0),
        OpenOptions(batch_threads=-1),
    ):
        with pytest.raises(EngineError):
            LlamaEngine.open(header, options)
    assert len(llama_library._models) == before


def test_defaults_of_the_options(header: ModelHeader) -> None:
    engine = LlamaEngine.open(header, OpenOptions())
    assert engine.context == 2048
    threads = engine._session.api.llama_n_threads(engine._session.context)
    assert threads == 1  # a tiny model
    assert llama_library.default_threads(10**9) == usable_cores() >= 1
    engine.close()


def test_a_context_of_one_token(header: ModelHeader) -> None:
    engine = LlamaEngine.open(header, OpenOptions(context=1, threads=1))
    assert len(engine.forward([1])) == 1
    with pytest.raises(EngineError, match="full"):
        engine.forward([1])
    engine.close()


def test_threads_do_not_change_rows(header: ModelHeader, engine: LlamaEngine) -> None:
    other = LlamaEngine.open(header, OpenOptions(context=256, threads=2, batch_threads=1))
    left = log_probabilities(engine.forward(list(range(20)), rows=20))
    right = log_probabilities(other.forward(list(range(20)), rows=20))
    assert_rows_equal(left, right, TOLERANCE)
    other.close()


def test_a_model_that_llama_cpp_refuses(header: ModelHeader, folder: Path) -> None:
    raw = RawGguf.read(header.info.path)
    raw.tensors.remove(raw.tensor("blk.1.ffn_up.weight"))
    broken = read_gguf_header(raw.write(folder / "broken.gguf"))
    before = len(llama_library._models)
    with pytest.raises(EngineError, match=r"cannot load .*ffn_up") as caught:
        LlamaEngine.open(broken, OPTIONS)
    assert "\n" not in str(caught.value)
    assert len(llama_library._models) == before


def test_a_file_that_disappeared(folder: Path) -> None:
    path = write_tiny_gguf(folder / "gone.gguf")
    header = read_gguf_header(path)
    path.unlink()
    with pytest.raises(EngineError, match="cannot be read"):
        LlamaEngine.open(header, OPTIONS)


TEXTS = (
    "the end and over",
    "",
    "a\0b",
    "\0",
    "über 漢字 🙂\r\n\t  x",
    "\x80\uffff",
    "1234567 " * 500,
)


def test_texts_come_back_from_their_tokens(engine: LlamaEngine) -> None:
    pieces = engine.vocabulary.pieces
    for text in TEXTS:
        for special in (False, True):
            ids = engine.tokenizer.encode(text, special=special)
            assert b"".join(pieces[token] for token in ids) == text.encode()
    assert engine.tokenizer.encode("the", special=False) == [pieces.index(b"the")]


def test_control_tokens_are_read_only_when_asked(engine: LlamaEngine) -> None:
    end = engine.vocabulary.pieces.index(b"<|im_end|>")
    assert engine.tokenizer.encode("a<|im_end|>", special=True)[-1] == end
    plain = engine.tokenizer.encode("a<|im_end|>", special=False)
    assert not engine.vocabulary.control & set(plain)


def test_lone_surrogates_become_question_marks(engine: LlamaEngine) -> None:
    assert engine.tokenizer.encode("a\ud800b", special=False) == engine.tokenizer.encode(
        "a?b", special=False
    )


def test_the_tokenizer_of_a_closed_engine_refuses(header: ModelHeader) -> None:
    engine = LlamaEngine.open(header, OPTIONS)
    tokenizer = engine.tokenizer
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        tokenizer.encode("a", special=False)


def test_a_split_model_is_the_whole_model(header: ModelHeader, tmp_path: Path) -> None:
    first = write_parts(header.info.path, tmp_path, 3)
    blobs = tmp_path / "hub"  # files of the Hub's cache are links to other names
    blobs.mkdir()
    for number, part in enumerate(sorted(tmp_path.glob("*.gguf"))):
        part.rename(blobs / str(number))
        part.symlink_to(blobs / str(number))
    rows = []
    for found in (header, read_gguf_header(first)):
        engine = LlamaEngine.open(found, OPTIONS)
        rows.append(engine.forward([1, 2, 3]).row(0))
        engine.close()
    assert np.array_equal(*rows)


def test_vocabularies_agree_with_llama_cpp(header: ModelHeader, folder: Path) -> None:
    spm = sentencepiece(RawGguf.read(header.info.path))
    paths = [spm.write(folder / "spm.gguf")]
    spm.set("tokenizer.ggml.add_space_prefix", 7, False).set("tokenizer.ggml.eos_token_id", 4, 1)
    paths.append(spm.write(folder / "no-prefix.gguf"))
    for found in (header, *map(read_gguf_header, paths)):
        engine = LlamaEngine.open(found, OPTIONS)
        library, vocabulary = engine._session.api, engine._session.model.vocabulary
        buffer = ctypes.create_string_buffer(64)
        for token, piece in enumerate(found.vocabulary.pieces):
            length = library.llama_token_to_piece(vocabulary, token, buffer, 64, 0, True)
            assert buffer.raw[:length] == piece
            assert library.llama_vocab_is_eog(vocabulary, token) == (token in found.vocabulary.end)
            is_control = library.llama_vocab_is_control(vocabulary, token)
            assert is_control == (token in found.vocabulary.control)
        for role in {"bos", "eos"} & {
            name.removesuffix("_token") for name in found.vocabulary.special
        }:
            theirs = getattr(library, f"llama_vocab_{role}")(vocabulary)
            name = found.vocabulary.special[f"{role}_token"]
            assert library.llama_vocab_get_text(vocabulary, theirs).decode() == name
        spaced = engine.tokenizer.encode(" the", special=False)
        array = (ctypes.c_int32 * len(spaced))(*spaced)
        length = library.llama_detokenize(vocabulary, array, len(spaced), buffer, 64, True, False)
        assert text_of(found.vocabulary, spaced) == buffer.raw[:length].decode()
        assert library.llama_vocab_get_add_bos(vocabulary) == found.vocabulary.adds_begin
        ids = engine.tokenizer.encode("the ü\n", special=False)
        text = b"".join(found.vocabulary.pieces[token] for token in ids)
        assert text.lstrip() == "the ü\n".encode()
        engine.close()


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120
    )


OPEN = """
import sys
from pathlib import Path
from adec.engines.base import OpenOptions
from adec.engines.llama.gguf.gguf_header import read_gguf_header
header = read_gguf_header(Path(sys.argv[1]))
assert "llama_cpp" not in sys.modules and "torch" not in sys.modules
from adec.engines.llama.llama_engine import LlamaEngine
assert "llama_cpp" not in sys.modules
engine = LlamaEngine.open(header, OpenOptions(context=256, threads=2))
engine.forward([1, 2, 3])
"""


def test_a_process_ends_cleanly_and_silently_with_an_open_engine(header: ModelHeader) -> None:
    result = run_python(OPEN, str(header.info.path))
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def test_logs_are_echoed_when_asked(header: ModelHeader) -> None:
    echo = "from adec.engines.llama import llama_library\nllama_library.echo_logs(True)\n"
    result = run_python(echo + OPEN, str(header.info.path))
    assert result.returncode == 0
    assert "llama_context" in result.stderr


def test_long_monotonous_texts_do_not_overflow_the_stack(header: ModelHeader) -> None:
    # std::regex recurses once a character; llama.cpp's common splitting rules are written by hand
    code = (
        OPEN + "for letter in 'a 1!\\n漢': engine.tokenizer.encode(letter * 300000, special=False)"
    )
    assert run_python(code, str(header.info.path)).returncode == 0


@given(
    st.lists(
        st.tuples(st.sampled_from(["array", "view", "scores", "drop"]), st.integers(0, 9)),
        max_size=60,
    )
)
def test_what_somebody_holds_never_changes(uses) -> None:
    rows, held = SpareRows(3), []
    for number, (use, which) in enumerate(uses):
        row, address = rows.take()
        assert address == row.ctypes.data
        row[:] = number
        if use == "array":
            held.append((row, number))
        elif use == "view":
            held.append((row[0, 1:], number))
        elif use == "scores":
            held.append((ArrayScores(row).row(0), number))
        elif held:
            del held[which % len(held)]
        del row
        for values, expected in held:
            assert np.all(values == expected)


def test_one_array_serves_who_holds_one_at_a_time() -> None:
    rows = SpareRows(3)
    seen = set()
    scores = None
    for _ in range(50):
        row, address = rows.take()
        assert address == row.ctypes.data
        seen.add(id(row))
        scores = ArrayScores(row)
        del row
    assert scores is not None and len(seen) <= 2

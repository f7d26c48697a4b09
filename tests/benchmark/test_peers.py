"""Peers: which are offered, how a program's output is read, transformers' generate on the same
weights.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from adec import practice
from adec.answering.choice import Choice
from adec.answering.session import Question
from adec.benchmark.bench_rows import plan_bench
from adec.benchmark.peers.diffusion_peer import DiffusionPeer
from adec.benchmark.peers.llama_peer import LlamaPeer
from adec.benchmark.peers.offered import (
    DIFFUSION,
    EARLY_EXIT,
    PROGRAMS,
    TRANSFORMERS,
    UNIVERSAL,
    PeerChoice,
    find_peers,
    open_peer,
)
from adec.benchmark.runner import BenchSettings
from adec.benchmark.samples import RowHeader
from adec.benchmark.tasks.task import Task
from adec.engines.base import OpenOptions
from adec.engines.opening import read_header
from adec.engines.pair import Engines
from adec.errors import EngineError, PairError, UsageError
from adec.models.names import locate
from tests import laws
from tests.engines.torch.tiny_folder import write_tiny_folder

GGUF = ("practice:large", "practice:small")
FOLDERS = ("practice:large-torch", "practice:small-torch")
ONE = OpenOptions(threads=1, context=256)


def headers(names):
    large, small = (read_header(locate(name)) for name in names)
    return {"large": large, "small": small}


def alone(models):
    return {"large": models["large"]}


def never() -> bool:
    return False


FAKE = """#!{python}
import sys
words = sys.argv[1:]
prompt = open(words[words.index("-f") + 1]).read()
{body}
"""
GOOD = """
print(prompt + "dab")
print("encoded {} tokens in 0.250 seconds, speed: 1 t/s".format(len(prompt)), file=sys.stderr)
print("decoded 3 tokens in 0.500 seconds, speed: 6 t/s", file=sys.stderr)
"""


def program(folder: Path, body: str, name: str = "llama-lookup") -> Path:
    path = folder / name
    path.write_text(FAKE.format(python=sys.executable, body=body))
    path.chmod(0o755)
    return path


def test_what_is_offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/no/such/folder")
    gguf, folders = headers(GGUF), headers(FOLDERS)
    assert find_peers("none", (), folders) == ()
    every = find_peers("auto", (), folders, beams=4)  # beside an adadec row of four candidates
    like = [name for name in TRANSFORMERS if name not in (UNIVERSAL, EARLY_EXIT)]
    assert [p.name for p in every] == like and every[-1].beams == 4
    assert [p.name for p in find_peers("auto", (), folders)] == like[:-1]
    assert find_peers("transformers-beam", (), folders)[0].beams == 3
    assert [p.name for p in find_peers("auto", (), alone(folders))] == [
        "transformers", "transformers-lookup"
    ]  # fmt: skip
    assert find_peers("auto", (), gguf) == ()
    for name in PROGRAMS:
        program(tmp_path, GOOD, name)
    assert [p.name for p in find_peers("auto", (tmp_path,), gguf)] == list(PROGRAMS)
    found = find_peers("llama-lookup", (tmp_path / "llama-lookup",), gguf)
    assert found[0].program == str(tmp_path / "llama-lookup")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert len(find_peers("auto", (), alone(gguf))) == 1
    with pytest.raises(PairError, match="needs a small model"):
        find_peers("llama-speculative", (), alone(gguf))
    with pytest.raises(UsageError, match="does not exist"):
        find_peers("auto", (tmp_path / "nowhere",), gguf)


def test_across_vocabularies_another_way_of_transformers_is_offered() -> None:
    folders, gguf = headers(FOLDERS), headers(GGUF)
    names = [peer.name for peer in find_peers("auto", (), folders, unlike=True)]
    assert names == ["transformers", UNIVERSAL, "transformers-lookup"]
    mixed = {"large": folders["large"], "small": gguf["small"]}
    names = [peer.name for peer in find_peers("auto", (), mixed, unlike=True)]
    assert names == ["transformers", "transformers-lookup"]
    for options, why in (
        ({"unlike": True, "greedy": False}, "it is greedy"),
        ({}, "share a vocabulary"),
    ):
        with pytest.raises(PairError, match=why):
            find_peers(UNIVERSAL, (), folders, **options)
    with pytest.raises(PairError, match="transformers-universal does not"):
        find_peers("transformers-assisted", (), folders, unlike=True)
    with pytest.raises(PairError, match="needs a small model"):
        find_peers(UNIVERSAL, (), alone(folders), unlike=True)


def test_universal_assisted_generation_drafts_by_text_and_gives_the_large_models_answer(
    tmp_path: Path,
) -> None:
    small = write_tiny_folder(tmp_path / "small")
    choice = Choice(large=str(practice.large_folder()), small=str(small))
    planned = plan_bench(choice, "plain", ONE, BenchSettings(max_tokens=12), UNIVERSAL)
    bench = planned.open()
    try:
        result = bench.run(Task(0, "Reverse this list: plum fig pear.", "g"), never)
        assert result is not None and not [a.error for a in result.answers if a.error]
        plain, peer = result.answers
        assert peer.same and peer.text == plain.text
        assert (peer.small_fed or 0) > 0 == (plain.small_fed or 0)
    finally:
        bench.close()


def fake_peer(path: Path) -> LlamaPeer:
    small, large = laws.pair(0)
    return LlamaPeer(
        RowHeader(path.name, "peer"), str(path), Engines(large=large, small=small), ONE
    )


def test_a_programs_times_and_text_are_read(tmp_path: Path) -> None:
    reply = fake_peer(program(tmp_path, GOOD)).reply(Question("abc"), 0, never)
    assert reply is not None and reply.ids is None
    answer = reply.answer
    assert (answer.text, answer.tokens, answer.seconds, answer.first_seconds) == (
        "dab", 3, 0.75, 0.25
    )  # fmt: skip


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("sys.exit('error: invalid argument')", "ended with 1: error: invalid argument"),
        ("print('hello')", "printed no times"),
        (GOOD.replace("len(prompt)", "99"), "reads the prompt as 99 tokens, adec as 3"),
    ],
)
def test_a_program_that_fails_is_one_error(tmp_path: Path, body: str, why: str) -> None:
    with pytest.raises(EngineError, match=why):
        fake_peer(program(tmp_path, body)).reply(Question("abc"), 0, never)


def test_a_program_is_stopped_when_interrupted(tmp_path: Path) -> None:
    peer = fake_peer(program(tmp_path, "import time; time.sleep(600)"))
    assert peer.reply(Question("abc"), 0, lambda: True) is None


def test_the_draft_model_is_really_used(tmp_path: Path) -> None:
    """With -md alone the program loads a plain draft model and leaves it unused."""
    told = tmp_path / "told"
    body = f"open({str(told)!r}, 'w').write(' '.join(words))" + GOOD
    path = program(tmp_path, body, "llama-speculative-simple")
    fake_peer(path).reply(Question("abc"), 0, never)
    assert "--spec-type draft-simple" in told.read_text() and "-md small" in told.read_text()


def test_a_peer_that_fails_in_the_warm_up_is_left_out(tmp_path: Path) -> None:
    from tests.benchmark.rows import table_bench

    bench = table_bench(BenchSettings(max_tokens=3))
    bench.decoders.append(fake_peer(program(tmp_path, "sys.exit(3)")))
    bench.warm(Task(0, "abc", "g"), never)
    assert [c.header.name for c in bench.decoders] == ["plain", "ead", "lookup", "small"]
    assert bench.remarks and "llama-lookup is left out" in bench.remarks[0]


def test_transformers_generate_gives_the_large_models_tokens() -> None:
    """Greedy, on the same weights: all three ways agree with plain."""
    choice = Choice(large=str(practice.large_folder()), small=str(practice.small_folder()))
    planned = plan_bench(
        choice, "plain", ONE, BenchSettings(max_tokens=12),
        "transformers,transformers-assisted,transformers-lookup",
    )  # fmt: skip
    bench = planned.open()
    try:
        result = bench.run(Task(0, "Reverse this list: plum fig pear.", "g"), never)
        assert result is not None
        assert not [a.error for a in result.answers if a.error]
        assert [a.same for a in result.answers] == [True] * 4
        for answer in result.answers:
            assert answer.first_seconds is not None and answer.first_seconds <= answer.seconds
            assert answer.text == result.answers[0].text and answer.tokens <= 12
        assert (
            bench.decoders[1].reply(Question("Copy: plum.", max_tokens=12), 0, lambda: True) is None
        )
    finally:
        bench.close()


def test_early_exits_are_offered_beside_rows_that_run_single_layers() -> None:
    folders, gguf = alone(headers(FOLDERS)), alone(headers(GGUF))
    found = find_peers("auto", (), folders, layered=True)
    assert [peer.early_exit for peer in found if peer.name == EARLY_EXIT] == [3]  # of six layers
    assert EARLY_EXIT not in [peer.name for peer in find_peers("auto", (), folders)]
    found = find_peers("transformers-early-exit-2,transformers-early-exit-5", (), folders)
    assert [peer.early_exit for peer in found] == [2, 5]
    for models, name, why in (
        (folders, f"{EARLY_EXIT}-0", "of 6 layers it can leave after 1 to 5"),
        (folders, f"{EARLY_EXIT}-6", "of 6 layers it can leave after 1 to 5"),
        (gguf, EARLY_EXIT, "its layers cannot be run one by one"),
    ):
        with pytest.raises(PairError, match=why):
            find_peers(name, (), models)
    for name in (f"{EARLY_EXIT}-", f"{EARLY_EXIT}-x", "transformers-3"):
        with pytest.raises(UsageError, match="no peer"):
            find_peers(name, (), folders)


def test_early_exits_draft_and_give_the_models_answer() -> None:
    choice = Choice(model="practice:depth-torch")
    names = f"{EARLY_EXIT}-5,{EARLY_EXIT}-11,transformers"
    planned = plan_bench(choice, "plain", ONE, BenchSettings(max_tokens=16), names)
    bench = planned.open()
    try:
        result = bench.run(Task(0, "Reverse this list: plum fig pear.", "g"), never)
        assert result is not None and not [a.error for a in result.answers if a.error]
        plain, five, eleven, own = result.answers
        assert five.text == eleven.text == own.text == plain.text
        assert five.same and eleven.same
        # drafts run through the lower layers, and only verified ones through all
        assert own.large_fed == plain.large_fed and not own.small_fed
        assert five.small_fed and eleven.small_fed
    finally:
        bench.close()


def test_a_failure_leaves_the_shared_module_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    from adec.engines.opening import open_engine
    from adec.engines.torch.torch_generate import generate
    from adec.sampling import Sampler

    engine = open_engine(read_header(locate("practice:depth-torch")), ONE)
    try:
        config = engine.module.base_model.config
        monkeypatch.setattr(engine.module.base_model.layers[2].mlp, "forward", lambda x: 1 / 0)
        with pytest.raises(EngineError, match="generate failed"):
            generate(engine, [1, 2, 3], 4, Sampler(), early_exit=5)
        assert config.num_hidden_layers == len(engine.module.base_model.layers) == 12
    finally:
        engine.close()


def test_beam_search_has_adadecs_width_and_counts_what_it_is_fed() -> None:
    """Every row of every step counts as fed: a greedy answer of n tokens is fed n - 1, one of four
    beams 4 a step.
    """
    choice = Choice(model="practice:small-torch")
    planned = plan_bench(
        choice, "adadec:candidates=4", ONE, BenchSettings(max_tokens=10),
        "transformers-beam,transformers",
    )  # fmt: skip
    bench = planned.open()
    try:
        question = Question("Jonas has 52 plums and gets 19 more. How many plums?", max_tokens=10)
        tokens, fed = {}, {}
        for decoder in bench.decoders:
            reply = decoder.reply(question, 0, never)
            assert reply is not None and reply.ids is not None
            name = decoder.header.name
            fed[name], tokens[name] = reply.answer.fed or 0, len(reply.ids)
        assert fed["transformers"] == fed["plain"] == tokens["plain"] - 1
        beam = fed["transformers-beam"]
        assert beam % 4 == 0 and 4 * (tokens["transformers-beam"] - 1) <= beam <= 4 * 9
    finally:
        bench.close()


def test_transformers_needs_torch_engines() -> None:
    small, large = laws.pair(0)
    peer = open_peer(PeerChoice("transformers"), Engines(large=large, small=small), ONE)
    with pytest.raises(EngineError, match="Hugging Face folders"):
        peer.reply(Question("abc"), 0, never)


def test_a_log_that_was_lost_is_asked_for_again(tmp_path: Path) -> None:
    """llama.cpp's programs lose the end of their log now and then."""
    count = tmp_path / "count"
    lost = (
        f"open({str(count)!r}, 'a').write('x')\nif len(open({str(count)!r}).read()) < 3: "
        "sys.exit()\n"
    )
    reply = fake_peer(program(tmp_path, lost + GOOD)).reply(Question("abc"), 0, never)
    assert reply is not None and reply.answer.text == "dab" and count.read_text() == "xxx"


def test_what_a_program_prints_behind_the_end_is_no_part_of_its_answer(tmp_path: Path) -> None:
    """End tokens are printed as words, an accepted round of them is counted, -n is overshot."""
    _, large = laws.pair(0)
    end = large.vocabulary.pieces[min(large.vocabulary.end)].decode()
    peer = fake_peer(program(tmp_path, GOOD.replace('"dab"', f'"da" + {end!r} + "b"')))
    reply = peer.reply(Question("abc", max_tokens=3), 0, never)
    assert reply is not None
    assert (reply.answer.text, reply.answer.tokens, reply.answer.finish) == ("da", 2, "end")
    cut = fake_peer(program(tmp_path, GOOD)).reply(Question("abc", max_tokens=2), 0, never)
    assert cut is not None
    assert (cut.answer.text, cut.answer.tokens, cut.answer.finish) == ("da", 3, "length")


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells")
def test_the_memory_of_a_program_is_its_own(tmp_path: Path) -> None:
    """Not that of this process, of which a new one is a copy at first."""
    hungry = "kept = bytearray(b'x' * (300 << 20)); import time; time.sleep(0.5)\n" + GOOD
    reply = fake_peer(program(tmp_path, hungry)).reply(Question("abc"), 0, never)
    assert reply is not None and reply.answer.peak_bytes is not None
    assert 300 << 20 < reply.answer.peak_bytes < 700 << 20


@pytest.mark.parametrize("name", PROGRAMS)
def test_llama_cpps_own_programs_give_the_large_models_answer(name: str) -> None:
    """Greedy, where they are on the PATH: end tokens, rounds beyond the end and lost logs of the
    real ones.
    """
    import shutil

    if shutil.which(name) is None:
        pytest.skip(f"{name} is not on the PATH")
    choice = Choice(large=str(practice.large_gguf()), small=str(practice.small_gguf()))
    bench = plan_bench(choice, "plain", ONE, BenchSettings(max_tokens=40), name).open()
    try:
        for prompt in (
            "Reverse this list: plum fig pear.",
            "What is the last word of: oak ash elm?",
        ):
            result = bench.run(Task(0, prompt, "g"), never)
            assert result is not None
            plain, peer = result.answers
            assert (peer.error, peer.same) == (None, True), (plain.text, peer.text)
            assert abs(peer.tokens - plain.tokens) <= 1 and peer.peak_bytes
    finally:
        bench.close()


DIFFUSION_FAKE = """#!{python}
import sys
words = sys.argv[1:]
value = lambda name: words[words.index(name) + 1]
assert value("-p") == "abc" and "-sys" not in words
length, steps = int(value("-ub")), int(value("--diffusion-steps"))
block = int(value("--diffusion-block-length"))
# what the program itself asserts
assert length % block == 0 and steps % (length // block) == 0
{body}
"""
STEPS = """
for step in range(5):
    sys.stderr.write(f"\\rdiffusion step: {step}/{steps} [=====     ] 50%")
sys.stderr.write("\\ntotal time: 1500.00ms, time per step: 1.00ms, sampling: 0.1ms\\n")
sys.stderr.write("\\ndabad\\n")
"""


def diffusion_peer(folder: Path, body: str, a_step: int = 1) -> DiffusionPeer:
    path = folder / "llama-diffusion-cli"
    path.write_text(DIFFUSION_FAKE.format(python=sys.executable, body=body))
    path.chmod(0o755)
    _, large = laws.pair(0)
    return DiffusionPeer(
        RowHeader("llama-diffusion-cli", "peer"), str(path), Engines(large=large), ONE, a_step
    )


@pytest.mark.parametrize("a_step", [1, 2, 4])
@pytest.mark.parametrize("most", [1, 31, 32, 100])
@pytest.mark.parametrize("prefix", ["", "0.02.036.810 I "])
def test_llama_cpp_s_diffusion_program_is_read(
    tmp_path: Path, a_step: int, most: int, prefix: str
) -> None:
    body = STEPS.replace('write("', f'write("{prefix}').replace('write(f"', f'write(f"{prefix}')
    reply = diffusion_peer(tmp_path, body, a_step).reply(Question("abc", max_tokens=most), 0, never)
    assert reply is not None
    answer = reply.answer
    assert (answer.text, answer.seconds, answer.large_forwards) == ("dabad", 1.5, 5)
    assert answer.tokens == min(most, 6)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        ("sys.exit('error: unsupported model')", "ended with 1: error: unsupported model"),
        ("sys.stderr.write('diffusion step: 0/8')", "printed no times"),
    ],
)
def test_its_failure_is_one_error(tmp_path: Path, body: str, why: str) -> None:
    with pytest.raises(EngineError, match=why):
        diffusion_peer(tmp_path, body).reply(Question("abc", max_tokens=8), 0, never)


def test_it_is_offered_for_diffusion_models_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for name in (*PROGRAMS, "llama-diffusion-cli"):
        program(tmp_path, GOOD, name)
    canvas = {"large": read_header(locate("practice:canvas"))}
    found = find_peers("auto", (), canvas)
    assert [peer.name for peer in found] == list(DIFFUSION)
    assert {peer.program for peer in found} == {str(tmp_path / "llama-diffusion-cli")}
    assert all(peer.name not in DIFFUSION for peer in find_peers("auto", (), headers(GGUF)))
    with pytest.raises(PairError, match="it is a diffusion model"):
        find_peers("llama-lookup", (), canvas)
    with pytest.raises(PairError, match="diffusion models only"):
        find_peers("llama-diffusion-cli", (), headers(GGUF))
    folder = {"large": read_header(locate("practice:canvas-torch"))}
    assert find_peers("auto", (), folder) == ()

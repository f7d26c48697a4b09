"""`adec run` on tiny models: what is printed where, and what each flag does."""

from __future__ import annotations

import inspect
import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from adec.cli import escapes, options
from adec.cli import run as run_module
from adec.display.summary_line import summary_lines
from adec.errors import AdecError
from tests.cli.command import call
from tests.engines.gguf.tiny_gguf import write_tiny_gguf

Pair = tuple[Path, Path]
SWITCHING = ("--set", "ead.up=4.6", "--set", "ead.window=1", "--set", "ead.dwell=0")


def pair_of(tiny_pair: Pair, *more: object) -> list[object]:
    small, large = tiny_pair
    return ["run", "--small", small, "--large", large, "--threads", 1, "-n", 24, *more]


def test_stdout_is_the_text_and_nothing_else(tiny_pair: Pair, capsys: Any) -> None:
    text = json.loads(call(capsys, *pair_of(tiny_pair, "--json", "hello")).out)["text"]
    text += "" if text.endswith("\n") else "\n"
    cut = "adec: the answer is cut off after 24 tokens: -n sets the limit, -1 is none\n"
    for more, told in (((), cut), (("--plain",), cut), (("-q",), "")):
        outcome = call(capsys, *pair_of(tiny_pair, *more, "hello"))
        assert (outcome.code, outcome.out, outcome.err) == (0, text, told)
    whole = call(capsys, *pair_of(tiny_pair, "--ctx", 24, "-n", -1, "hello"))
    assert whole.code == 0 and "the context is full" in whole.err
    ended = call(capsys, *pair_of(tiny_pair, "--stop", text[5:8], "hello"))
    assert (ended.code, ended.err) == (0, "")


def test_json_lines_start_and_end_as_documented(
    tiny_pair: Pair, capsys: Any, tmp_path: Path
) -> None:
    trace = tmp_path / "run.jsonl"
    outcome = call(capsys, *pair_of(tiny_pair, "--jsonl", "--trace", trace, *SWITCHING, "hello"))
    lines = [json.loads(line) for line in outcome.out.splitlines()]
    assert list(lines[0])[:2] == ["type", "schema"]
    assert [line["type"] for line in lines] == ["start", *["step"] * (len(lines) - 2), "end"]
    assert trace.read_text() == outcome.out
    summary = lines[-1]["summary"]
    promised = (
        "strategy guarantee tokens large_tokens large_fed wakes seconds "
        "first_token_seconds tokens_per_second"
    )
    assert set(promised.split()) <= set(summary)
    tokens = [token for line in lines for token in line.get("tokens", ())]
    assert summary["tokens"] == len(tokens) == 24
    assert summary["large_tokens"] == sum(token["source"] == "large" for token in tokens) > 0
    assert summary["wakes"] == sum(line.get("kind") == "wake" for line in lines) > 0
    one = json.loads(call(capsys, *pair_of(tiny_pair, "--json", *SWITCHING, "hello")).out)
    assert one["text"] == "".join(token.get("text", "") for token in tokens)
    assert set(one["summary"]) == set(summary)


def test_drafts_from_no_model_are_no_models(tiny_pair: Pair, capsys: Any) -> None:
    """One model and its own text as a drafter: nothing is counted for a small model, and the words
    for it are in no display."""
    command = ("run", "--model", tiny_pair[1], "--strategy", "lookup", "--threads", 1, "-n", 40)
    command += ("--set", "lookup.size=fixed")
    outcome = call(capsys, *command, "--jsonl", "abcabcabcabc")
    lines = [json.loads(line) for line in outcome.out.splitlines()]
    sources = Counter(token["source"] for line in lines for token in line.get("tokens", ()))
    summary = lines[-1]["summary"]
    assert summary["tokens_by_source"] == sources and sources["ngram"] > 0
    assert set(sources) == {"large", "ngram"}
    assert set(summary["fed_by_model"]) == set(summary["forwards_by_model"]) == {"large"}
    for figure in ("tokens", "fed", "prompt_fed", "forwards"):
        assert summary[f"small_{figure}"] == 0
    words = "\n".join(summary_lines(summary))
    assert f"ngram wrote {sources['ngram']}" in words and "small" not in words


def test_exact_acceptance_equals_the_large_model_alone(tiny_pair: Pair, capsys: Any) -> None:
    def text(*more: object) -> str:
        return json.loads(call(capsys, *pair_of(tiny_pair, "--json", *more, "hello")).out)["text"]

    for sampling in ((), ("--temp", 0.9, "--seed", 3, "--top-p", 0.9)):
        plain = text("--strategy", "plain", *sampling)
        assert text(*SWITCHING, "--set", "ead.accept=exact", *sampling) == plain
        assert text("--strategy", "plain", "--set", "plain.model=small", *sampling) != plain


def test_a_seed_repeats_a_run_and_another_does_not(tiny_pair: Pair, capsys: Any) -> None:
    texts = [
        call(capsys, *pair_of(tiny_pair, "--temp", 1, "--seed", seed, "hi")).out
        for seed in (5, 5, 6)
    ]
    assert texts[0] == texts[1] != texts[2]
    lines = call(capsys, *pair_of(tiny_pair, "--temp", 1, "--jsonl", "hi")).out.splitlines()
    chosen = json.loads(lines[0])["sampling"]["seed"]
    again = call(capsys, *pair_of(tiny_pair, "--temp", 1, "--seed", chosen, "--json", "hi")).out
    tokens = [
        token.get("text", "") for line in lines for token in json.loads(line).get("tokens", ())
    ]
    assert json.loads(again)["text"] == "".join(tokens)


def test_a_stop_string_ends_it_wherever_it_lies(tiny_pair: Pair, capsys: Any) -> None:
    whole = json.loads(call(capsys, *pair_of(tiny_pair, "--json", "hello")).out)["text"]
    stop = whole[5:8]
    outcome = json.loads(call(capsys, *pair_of(tiny_pair, "--json", "--stop", stop, "hello")).out)
    assert outcome["text"] == whole[: whole.index(stop)]
    assert outcome["summary"]["finish"] == "stop"


def test_a_model_alone(tiny_pair: Pair, capsys: Any) -> None:
    alone = json.loads(
        call(capsys, "run", "-m", tiny_pair[1], "--threads", 1, "-n", 9, "--json", "hello").out
    )
    assert alone["summary"]["strategy"] == "speculate" and alone["summary"]["tokens"] == 9
    assert list(alone["models"]) == ["large"]


def test_prompt_sources(tiny_pair: Pair, capsys: Any, tmp_path: Path) -> None:
    file = tmp_path / "prompt.txt"
    file.write_bytes("first\nü \xff\n".encode("latin-1"))
    base = ["run", "-m", tiny_pair[1], "--threads", 1, "-n", 1, "--raw", "--jsonl"]

    def prompt(*more: object) -> str:
        return json.loads(call(capsys, *base, *more).out.splitlines()[0])["prompt"]

    assert prompt("only") == "only"
    assert prompt("-f", file) == "first\n\ufffd \ufffd\n"
    assert prompt("only\n\n") == "only\n\n"
    assert prompt("-f", file, "then") == "first\n\ufffd \ufffd\n\nthen"


def test_habits_of_llama_cpp_mean_the_same(tiny_pair: Pair, capsys: Any) -> None:
    def start_and_end(*more: object) -> tuple[dict[str, Any], dict[str, Any]]:
        lines = call(capsys, *pair_of(tiny_pair, "--jsonl", *more)).out.splitlines()
        return json.loads(lines[0]), json.loads(lines[-1])

    short, ended = start_and_end("-p", "hello", "-c", 24, "-t", 1, "-s", 7, "-n", -1)
    long, _ = start_and_end("hello", "--ctx", 24, "--threads", 1, "--seed", 7, "-n", -1)
    assert short == long and short["sampling"]["seed"] == 7
    assert ended["summary"]["finish"] == "context"
    assert short["max_tokens"] == 24 - short["prompt_tokens"] == ended["summary"]["tokens"]
    warm = ("hello", "--temperature", 0.7, "--top-k", -1, "--seed", -1)
    seeds = {start_and_end(*warm)[0]["sampling"]["seed"] for _ in range(2)}
    assert len(seeds) == 2
    assert start_and_end(*warm)[0]["sampling"]["top_k"] == 0
    assert len({options.SamplingOptions(seed=-1).sampler().seed for _ in range(3)}) > 1
    whole, _ = start_and_end("-c", 0, "-t", -1, "-n", -1, "--stop", "e", "hello")
    assert whole["max_tokens"] == 2048 - whole["prompt_tokens"]  # all of the model's
    for refused in (("-c", -1), ("-c", 7), ("-t", 0), ("-t", -2)):
        outcome = call(capsys, *pair_of(tiny_pair, *refused, "hello"))
        assert outcome.code == 2 and f"{refused[1]} is neither" in outcome.err
    # the nucleus of no mass is the likeliest token
    greedy, likeliest = (
        json.loads(call(capsys, *pair_of(tiny_pair, "--json", *more, "hello")).out)["text"]
        for more in ((), ("--temp", 1, "--top-p", 0))
    )
    assert greedy == likeliest


def test_escapes_are_read_where_asked_for(tiny_pair: Pair, capsys: Any) -> None:
    base = ["run", "-m", tiny_pair[1], "--threads", 1, "-n", 1, "--raw", "--jsonl"]

    def prompt(*more: object) -> str:
        return str(json.loads(call(capsys, *base, *more).out.splitlines()[0])["prompt"])

    typed = r"a\tb\nc\\n \x41\xc3\xbc \d ü"
    assert prompt(typed) == typed
    assert prompt("-e", typed) == "a\tb\nc\\n Aü \\d ü"
    assert escapes.unescape(r"\xff\"\'") == "\ufffd\"'"
    assert options.SamplingOptions(stop=[r"\n"], escape=True).stops == ("\n",)
    assert options.SamplingOptions(stop=[r"\n"]).stops == (r"\n",)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["run", "What", "is", "2+2"], 'adec run "What is 2+2"'),
        (["What is 2+2?"], 'adec run "What is 2+2?"'),
        (["What", "is", "2+2?"], 'adec run "What is 2+2?"'),
        (["run", "-5 + 3 is what?"], 'adec run -- "-5 + 3 is what?"'),
        (["run", "-n is which flag?"], 'adec run -- "-n is which flag?"'),
        (["run", "-5", "+", "3"], 'adec run -- "-5 + 3"'),
        (["run", "costs", "$5"], "adec run 'costs $5'"),
        (["run", "--version"], "Write adec --version"),
        (["inspect", "--version"], "Write adec --version"),
        (["-m", "x.gguf", "hi"], "adec run -m"),
        (["rnu", "hi"], "Did you mean 'run'?"),
        (["bench", "What is this?"], "--task FILE"),
        (["run", "-n"], "See adec run --help"),
        (["run", "-n", "-5", "hi"], "See adec run --help"),
        (["--nonsense"], "See adec --help"),
    ],
)
def test_a_slip_of_the_first_minute_is_told_the_word(
    words: list[str], told: str, capsys: Any
) -> None:
    outcome = call(capsys, *words)
    assert outcome.code == 2 and outcome.out == ""
    assert told in outcome.err and outcome.err.count("\n") == 1, outcome.err


def test_a_folder_of_gguf_files_lists_them(tmp_path: Path, capsys: Any) -> None:
    for name in ("b-q8.gguf", "a-q4.gguf"):
        (tmp_path / name).touch()
    outcome = call(capsys, "run", "-m", tmp_path, "hi")
    assert outcome.code == 1
    assert "a-q4.gguf, b-q8.gguf" in outcome.err and f"{tmp_path}/a-q4.gguf" in outcome.err


def wrong(name: str) -> Any:
    """(arguments after the pair, exit code, what is said)."""
    return {
        "no model": (["--model", "/no/such.gguf"], 1, "does not exist"),
        "both": (["--pair", "practice"], 2, "exclude each other"),
        "strategy": (["--strategy", "eda"], 2, "did you mean ead"),
        "setting": (["--set", "ead.upp=1"], 2, "did you mean ead.up"),
        "no setting": (["--set", "up"], 2, "STRATEGY.NAME=VALUE"),
        "bound": (["--set", "ead.window=0"], 2, "below 1"),
        "idle": (["--strategy", "plain", "--set", "ead.up=1"], 2, "has no effect"),
        "temp": (["--temp", "-1"], 2, "--temp"),
        "type": (["--temp", "warm"], 2, "--temp"),
        "top_p": (["--top-p", "-0.1"], 2, "--top-p"),
        "limit": (["-n", "0"], 2, "nor -1"),
        "two prompts": (["-p", "x"], 2, "two prompts"),
        "flag": (["--streategy", "ead"], 2, "--streategy"),
        "ctx": (["--ctx", "9999999"], 1, "context"),
        "stop": (["--stop", ""], 2, "stop string is empty"),
        "two outputs": (["--json", "--jsonl"], 2, "exclude each other"),
        "system": (["--raw", "--system", "x"], 2, "--system has no place"),
        "trace": (["--trace", "/no/such/folder/t"], 1, "trace"),
        "no exec": (["--strategy", "iad", "--tests", __file__], 2, "add --allow-exec"),
        "two verifiers": (["--verify", "cat", "--tests", __file__], 2, "exclude each other"),
        "idle verifier": (["--verify", "cat"], 2, "add --strategy iad"),
        "no verifier": (["--strategy", "iad", "--verify", "/no/such"], 2, "no program"),
        "odd verifier": (["--strategy", "iad", "--verify", "a 'b"], 2, "cannot be read"),
        "no number": (["--strategy", "iad", "--verify", "echo x"], 1, "no number: 'x'"),
    }[name]


@pytest.mark.parametrize(
    "name",
    [
        "strategy",
        "setting",
        "bound",
        "idle",
        "temp",
        "type",
        "top_p",
        "limit",
        "two prompts",
        "flag",
        "ctx",
        "stop",
        "system",
        "trace",
        "both",
        "no model",
        "no setting",
        "two outputs",
        "no exec",
        "two verifiers",
        "idle verifier",
        "no verifier",
        "odd verifier",
        "no number",
    ],
)
def test_errors_are_one_line_with_the_right_code(name: str, tiny_pair: Pair, capsys: Any) -> None:
    more, code, said = wrong(name)
    base = ["run"] if name == "no model" else pair_of(tiny_pair)
    outcome = call(capsys, *base, *more, "hello")
    assert outcome.code == code, outcome.err
    assert outcome.err.startswith("adec: ") and outcome.err.count("\n") == 1
    assert said.lower() in outcome.err.lower()
    assert "Traceback" not in outcome.err and outcome.out == ""


def test_errors_are_json_for_programs(capsys: Any) -> None:
    one = call(capsys, "run", "--json", "--model", "/no/such.gguf", "hi")
    assert one.code == 1 and json.loads(one.out)["error"]["exit_code"] == 1
    lines = call(capsys, "run", "--jsonl", "--model", "/no/such.gguf", "hi")
    assert [json.loads(line)["type"] for line in lines.out.splitlines()] == ["error"]


def test_a_prompt_over_the_context_is_refused_before_any_work(tiny_pair: Pair, capsys: Any) -> None:
    outcome = call(capsys, *pair_of(tiny_pair, "--ctx", 64, "word " * 500))
    assert outcome.code == 2 and "the context of large.gguf holds 64" in outcome.err


@pytest.fixture(scope="module")
def short_pair(tiny_pair: Pair, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    """A pair whose small model has the smaller context."""
    folder = tmp_path_factory.mktemp("short")
    return write_tiny_gguf(folder / "short.gguf", seed=1, layers=1, context=64), tiny_pair[1]


@pytest.mark.parametrize("strategy", ["plain", "lookup", "speculate", "iad", "adadec"])
@pytest.mark.parametrize("context", [(), ("--ctx", 512)])
def test_a_small_model_with_too_small_a_context_is_left_out(
    short_pair: Pair, capsys: Any, strategy: str, context: tuple[object, ...]
) -> None:
    words = ["--strategy", strategy, "--raw", "--json", *context, "x" * 64]
    outcome = call(capsys, *pair_of(short_pair, *words))
    alone = call(capsys, "run", "-m", short_pair[1], *pair_of(short_pair, *words)[5:])
    assert outcome.code == alone.code == 0
    assert json.loads(outcome.out)["text"] == json.loads(alone.out)["text"]
    assert "going on without short.gguf: the prompt has 64 tokens" in outcome.err


@pytest.mark.parametrize("more", [["ead"], ["plain", "--set", "plain.model=small"]])
@pytest.mark.parametrize("context", [(), ("--ctx", 512)])
def test_a_small_model_that_is_needed_is_named_with_its_limit(
    short_pair: Pair, capsys: Any, more: list[str], context: tuple[object, ...]
) -> None:
    words = ["--strategy", *more, "--raw", *context]
    outcome = call(capsys, *pair_of(short_pair, *words, "x" * 64))
    assert outcome.code == 2 and "the context of short.gguf holds 64" in outcome.err
    assert "--ctx" not in outcome.err
    assert call(capsys, *pair_of(short_pair, *words, "x" * 50)).code == 0


def test_a_context_that_the_large_model_lacks_names_the_file(short_pair: Pair, capsys: Any) -> None:
    outcome = call(capsys, "run", "-m", short_pair[0], "--ctx", 512, "hi")
    assert outcome.code == 1 and "short.gguf has no context of 512" in outcome.err


def test_a_full_disk_does_not_take_the_answer_away(tiny_pair: Pair, capsys: Any) -> None:
    whole = call(capsys, *pair_of(tiny_pair, "hello"))
    outcome = call(capsys, *pair_of(tiny_pair, "-q", "--trace", "/dev/full", "hello"))
    assert outcome.out == whole.out and outcome.code == 1
    assert "No space left" in outcome.err and outcome.err.count("\n") == 1


def test_every_option_reaches_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: Any, tmp_path: Path
) -> None:
    """A flag that is parsed and then forgotten is the commonest lie of such tools."""
    (tmp_path / "tests.txt").write_text("f(1) == 1\n")
    seen: list[str] = []

    def spy(choice: Any) -> Any:
        frame = inspect.currentframe()
        assert frame is not None and frame.f_back is not None
        own = frame.f_back.f_locals
        names = ("question", "machine", "flags", "verbose", "remember")
        seen.append(repr((choice, *(own[name] for name in names))))
        raise AdecError("seen")

    monkeypatch.setattr("adec.answering.plan.plan", spy)
    monkeypatch.setattr("adec.engines.llama.llama_library.echo_logs", lambda on: None)
    variants = {
        "pair": ["--pair", "x"], "small": ["--small", "x"], "large": ["--large", "x"],
        "model": ["-m", "x"], "strategy": ["--strategy", "x"], "assignments": ["--set", "a.b=c"],
        "max_tokens": ["-n", 3], "temperature": ["--temp", 1, "--seed", 0], "top_k": ["--top-k", 3],
        "top_p": ["--top-p", 0.5], "min_p": ["--min-p", 0.5], "seed": ["--seed", 5],
        "stop": ["--stop", "x"], "escape": ["-e", "--stop", r"\n"],
        "system": ["--system", "x"], "raw": ["--raw"],
        "special": ["--special"], "json": ["--json"],
        "jsonl": ["--jsonl"], "plain": ["--plain"], "trace": ["--trace", "/dev/null"],
        "color": ["--color", "never"], "sanitize": ["--sanitize"], "quiet": ["-q"],
        "verbose": ["-v"], "context": ["--ctx", 99], "threads": ["--threads", 9],
        "batch_threads": ["--batch-threads", 9], "gpu_layers": ["--gpu-layers", 9],
        "rpc": ["--rpc", "10.0.0.2:9"],
        "memory_map": ["--no-mmap"], "engine": ["--engine", "torch"],
        "device": ["--device", "x"], "dtype": ["--dtype", "float16"],
        "key_file": ["--key-file", "x", "-n", 77], "budget_tokens": ["--budget-tokens", 9],
        "file": ["-f", __file__], "verify": ["--verify", "cat"], "keep": ["--keep", 0.9],
        "exactness": ["--exactness", "bitwise"],
        "remember": ["--remember"], "stop_when_lost": ["--stop-when-lost"],
        "tests": ["--tests", tmp_path / "tests.txt", "--allow-exec"],
    }  # fmt: skip
    elsewhere = {"prompt", "given", "allow_exec"}
    assert set(variants) == set(inspect.signature(run_module.run).parameters) - elsewhere
    call(capsys, "run", "hi")
    for arguments in variants.values():
        call(capsys, "run", *arguments, "hi")
    assert len(set(seen)) == len(variants) + 1


def test_bitwise_is_planned_measured_once_and_said(tiny_pair: Pair, capsys: Any) -> None:
    small, large = tiny_pair
    alone = ("run", "-m", large, "--exactness", "bitwise", "-n", 12, "--json")
    pair = ("run", "--small", small, "--large", large, "--exactness", "bitwise", "-n", 12, "--json")
    wanted = json.loads(call(capsys, *alone, "--strategy", "plain", "hello hello").out)["text"]
    said = []
    for arguments in (
        (*alone, "--strategy", "lookup", "--set", "lookup.size=fixed"),
        (*alone, "--strategy", "recycling", "--set", "recycling.size=fixed"),
        (*pair, "--strategy", "adaedl"),
        (*pair, "--set", "ead.accept=exact"),
    ):
        outcome = call(capsys, *arguments, "hello hello")
        answer = json.loads(outcome.out)
        assert outcome.code == 0 and answer["text"] == wanted
        assert answer["summary"]["exactness"] == "bitwise"
        said.append("measuring once" in outcome.err)
    assert said == [True, False, False, False]
    refused = call(capsys, *pair, "--strategy", "ead", "hello")
    assert refused.code == 2 and "ead with these settings is approximate" in refused.err


def test_nothing_is_read_before_the_first_token_but_the_prompt(
    tiny_pair: Pair, capsys: Any
) -> None:
    """So `first_token_seconds` is the model's own: no forward is made to measure anything."""
    alone = ("run", "-m", tiny_pair[1], "--threads", 1, "-n", 8, "--jsonl")
    for strategy in ("plain", "speculate", "lookup"):
        lines = call(capsys, *alone, "--strategy", strategy, "hello " * 12).out.splitlines()
        start, *steps = (json.loads(line) for line in lines[:-1])
        first = next(number for number, step in enumerate(steps) if step.get("tokens"))
        forwards = [f for step in steps[: first + 1] for f in step.get("forwards", ())]
        assert {f["purpose"] for f in forwards} == {"prompt"}
        assert sum(f["tokens"] for f in forwards) == start["prompt_tokens"]


def test_a_wrong_choice_is_named_with_those_there_are(capsys: Any) -> None:
    outcome = call(capsys, "run", "--color", "pink", "hello")
    told = "Invalid value for '--color': 'pink' is not one of 'auto', 'always', 'never'"
    assert (outcome.code, outcome.err) == (2, f"adec: {told}. See adec run --help\n")

"""`adec calibrate` on tiny models: what it prints, writes, refuses, and how it goes on."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adec.calibration.replay.grids import FAMILIES
from adec.cli.calibrate import seconds_of
from adec.errors import UsageError
from adec.profiles.find import find_profile
from adec.profiles.read import read_profile
from adec.profiles.schema import MeasuredOn
from tests import laws
from tests.cli.command import call, start
from tests.engines.remote.fake_server import KEY, FakeServer

Pair = tuple[Path, Path]
FEW = ("--threads", 1, "--batch-threads", 1, "--ctx", 160, "-n", 6, "--time-limit", "4s")


@pytest.fixture
def asked(tmp_path: Path) -> Path:
    path = tmp_path / "prompts.txt"
    path.write_text("\n".join(f"question {i}" for i in range(14)))
    return path


@pytest.fixture
def calibrated(tiny_pair: Pair, asked: Path, capsys: Any) -> Any:
    """A finished calibration named mine."""
    small, large = tiny_pair
    done = call(capsys, "calibrate", small, large, "--prompts", asked, *FEW, "-o", "mine")
    assert done.code == 0, done.err
    return done


def run_args(tiny_pair: Pair, *more: object) -> list[object]:
    small, large = tiny_pair
    return ["run", "--small", small, "--large", large, "--threads", 1, "-n", 5, *more, "hello"]


def test_it_prints_a_chart_a_table_and_a_sentence_and_saves_a_profile(
    calibrated: Any, tiny_pair: Pair, home: Path
) -> None:
    out = calibrated.out.splitlines()
    assert out[0].strip() == "agreement kept"
    assert any(line.startswith("strategy and settings") for line in out)
    for column in ("off", "written", "read", "of plain"):
        assert column in calibrated.out[calibrated.out.rindex("tok/s: ") :]
    assert out[-1].endswith("`adec run --pair mine` obeys this profile.")
    # what a GGUF could learn
    assert sum(line.startswith("  ppd: ") for line in out) == 1
    assert not any(line.startswith("  hidden-transfer: ") for line in out)
    assert "the profile is" in calibrated.err and "\x1b" not in calibrated.out + calibrated.err
    profile = find_profile("mine")
    assert profile.path == home / "profiles" / "mine.toml"
    assert [p.name for p in profile.path.parent.iterdir()] == ["mine.toml"]
    assert profile.models["large"] == str(tiny_pair[1].resolve())
    assert profile.costs is not None and profile.budget is not None
    assert not profile.budget.proved and profile.budget.held_out <= 10
    assert not list((home / "calibration").iterdir())
    # a pair of random models: whatever is exact gave the large model's tokens
    assert "near ties" not in calibrated.out


def test_run_obeys_the_profile_by_name_and_by_the_files(
    calibrated: Any, tiny_pair: Pair, capsys: Any, home: Path
) -> None:
    wanted = find_profile("mine").recommended
    for arguments in (
        ["run", "--pair", "mine", "--threads", 1, "-n", 5, "--json", "hello"],
        run_args(tiny_pair, "--json"),
        run_args(tiny_pair, "--json", "--strategy", "auto"),
    ):
        done = call(capsys, *arguments)
        result = json.loads(done.out)
        assert (done.code, done.err) == (0, "")
        assert result["summary"]["strategy"] == wanted and result["profile"] == "mine"
        assert result["plain_ms_per_token"] > 0
    exact = json.loads(call(capsys, *run_args(tiny_pair, "--json", "--keep", 1)).out)
    assert exact["summary"]["guarantee"] == "exact"
    done = call(capsys, *run_args(tiny_pair, "--json", "--keep", 0.9))
    assert "has no proof for --keep 0.9" in done.err and done.code == 0
    assert json.loads(done.out)["summary"]["guarantee"] == "exact"


def test_a_proved_budget_is_printed_as_such_and_only_for_its_settings(
    calibrated: Any, tiny_pair: Pair, capsys: Any, home: Path
) -> None:
    path = home / "profiles" / "mine.toml"
    text = path.read_text()
    family = find_profile("mine").budget.strategy
    path.write_text(text.replace("proved = false", "proved = true"))
    by_hand = ("--json", "--strategy", family)

    def guarantee(*more: object) -> str:
        return json.loads(call(capsys, *run_args(tiny_pair, *by_hand, *more)).out)["guarantee"]

    assert guarantee() == "bounded"
    assert guarantee("--temp", 0.7, "--seed", 1) == "approximate"
    assert guarantee("--set", f"{family}.{FAMILIES[family].knobs[0]}=0.87654") == "approximate"


def test_stale_profiles_warn_and_name_the_field(
    calibrated: Any, tiny_pair: Pair, capsys: Any, home: Path
) -> None:
    path = home / "profiles" / "mine.toml"
    text = path.read_text()

    def said(old: str, new: str) -> str:
        line = next(line for line in text.splitlines() if line.startswith(f"{old} = "))
        path.write_text(text.replace(line, f"{old} = {new}"))
        done = call(capsys, "run", "--pair", "mine", "--threads", 1, "-n", 3, "--json", "hello")
        assert done.code == 0 and done.err.count("\n") == 1, done.err
        return done.err

    assert "machine.processor is Abacus" in said("processor", '"Abacus"')
    assert "machine.backend is llama-cpp-python 0.0.1" in said(
        "backend", '"llama-cpp-python 0.0.1"'
    )
    assert "pair.large_quantisation is Q9_9" in said("large_quantisation", '"Q9_9"')
    assert "pair.small_fingerprint is 00" in said("small_fingerprint", '"00"')
    line = next(line for line in text.splitlines() if line.startswith("vocabulary = "))
    path.write_text(text.replace(line, 'vocabulary = "0000000000000000"'))
    done = call(capsys, "run", "--pair", "mine", "hello")
    assert done.code == 2 and "another vocabulary" in done.err


def test_check_compares_with_the_profile(
    calibrated: Any, capsys: Any, home: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("adec.calibration.trials.recheck.TOLERANCE", 1e9)
    done = call(capsys, "calibrate", "--check", "mine", "--threads", 1)
    assert done.code == 0 and "it holds" in done.out and "large        1" in done.out
    monkeypatch.setattr("adec.calibration.trials.recheck.TOLERANCE", 0.25)
    path = home / "profiles" / "mine.toml"
    lines = path.read_text().splitlines()
    slow = [
        f"ms = {[1e6] * line.count('.')}" if line.startswith("ms = ") else line for line in lines
    ]
    path.write_text("\n".join(slow))
    profile = read_profile(path)
    assert profile.costs is not None
    done = call(capsys, "calibrate", "--check", "mine", "--threads", 1)
    assert done.code == 4 and "times as long as it says" in done.err and "ratio" in done.out
    assert call(capsys, "calibrate", "--check", "practise").code == 2


def test_a_model_alone_and_a_picture(
    tiny_pair: Pair, asked: Path, capsys: Any, tmp_path: Path
) -> None:
    out, picture = tmp_path / "one.toml", tmp_path / "front.svg"
    done = call(
        capsys, "calibrate", tiny_pair[1], "--prompts", asked, *FEW,
        "-o", out, "--svg", picture, "-q",
    )  # fmt: skip
    assert done.code == 0 and done.err == ""
    profile = read_profile(out)
    assert "small" not in profile.models and profile.budget is None and profile.choice is not None
    assert picture.read_text().startswith("<svg")


def test_a_png_is_what_the_renderer_makes_of_the_svg(
    tiny_pair: Pair, asked: Path, capsys: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    """The renderer is an extra: here one that hands back what it was given."""
    renderer = SimpleNamespace(svg_to_bytes=lambda svg_string, zoom: svg_string.encode())
    monkeypatch.setitem(sys.modules, "resvg_py", renderer)
    svg, png = tmp_path / "front.svg", tmp_path / "front.png"
    done = call(
        capsys, "calibrate", tiny_pair[1], "--prompts", asked, *FEW, "-q",
        "-o", tmp_path / "one.toml", "--svg", svg, "--png", png,
    )  # fmt: skip
    assert done.code == 0 and png.read_text() == svg.read_text()


def test_a_portable_profile_holds_nothing_of_this_machine(
    tiny_pair: Pair, asked: Path, capsys: Any, tmp_path: Path
) -> None:
    out = tmp_path / "away.toml"
    done = call(
        capsys, "calibrate", *tiny_pair, "--prompts", asked, *FEW, "-o", out, "--portable", "-q"
    )
    assert done.code == 0
    text, profile = out.read_text(), read_profile(out)
    assert (
        profile.costs is None
        and profile.machine == MeasuredOn()
        and "tokens_per_second" not in text
    )
    assert profile.choice is not None and profile.choice.exact == "speculate"
    assert profile.recommended == "speculate" and profile.budget is not None
    # nothing to go stale: another machine is not told of
    done = call(capsys, "run", "--pair", out, "--threads", 1, "-n", 3, "--json", "hello")
    assert (done.code, done.err) == (0, "")


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--keep", "0"], 2, "--keep 0.0 is not above 0"),
        (["--keep", "1.2"], 2, "--keep"),
        (["--confidence", "1"], 2, "--confidence"),
        (["--time-limit", "soon"], 2, "--time-limit 'soon' is not a time"),
        (["--metric", "beauty"], 2, "--metric"),
        (["-o", "a/b"], 2, "no name for a profile"),
        (["-o", "/proc/none/p.toml"], 2, "cannot be written"),
        (["--svg", "/proc/none/p.svg"], 2, "cannot be written"),
        (["--png", "front.png"], 2, "pip install 'adec[png]'"),
        (["--prompts", "/no/such"], 2, "cannot be read"),
        (["--prompts", "/dev/null"], 2, "is empty"),
        (["--ctx", "9999999"], 1, "context"),
        (["/no/such.gguf"], 1, "does not exist"),
        (["/no/such.gguf", "http://127.0.0.1:9/v1"], 1, "does not exist"),
        (["http://127.0.0.1:9/v1"], 2, "alone leaves nothing to calibrate"),
        (["http://127.0.0.1:9/v1", "/no/such.gguf"], 2, "must lie on this machine"),
        (["x", "--fit", "ppd", "-o", "mine"], 2, "--output has no effect with --fit ppd"),
        (["x", "--fit", "drop", "--jobs", "2"], 2, "--jobs has no effect with --fit drop"),
        (["x", "--fit", "sec", "--svg", "f.svg"], 2, "--svg has no effect with --fit sec"),
        (["x", "--fit", "drop", "-o", "mine.gguf"], 1, "x does not exist"),
    ],
)
def test_what_is_wrong_is_one_line_and_leaves_nothing(
    arguments: list[str], code: int, said: str, capsys: Any, home: Path, monkeypatch: Any
) -> None:
    monkeypatch.setattr("adec.calibration.command.busy", lambda machine: None)
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    done = call(capsys, "calibrate", "--threads", 1, *arguments)
    assert done.code == code and said in done.err, done.err
    assert done.err.startswith("adec: ") and done.err.count("\n") == 1 and done.out == ""
    assert not list(home.rglob("*.toml"))


def test_prompts_that_are_too_long_or_too_few(tiny_pair: Pair, capsys: Any, tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("\n".join([*(f"question {i}" for i in range(9)), "word " * 400]))
    small, large = tiny_pair
    done = call(capsys, "calibrate", small, large, "--prompts", path, *FEW)
    assert done.code == 2 and "the prompt that begins 'word word" in done.err
    path.write_text("only one\n")
    done = call(capsys, "calibrate", small, large, "--prompts", path, *FEW)
    assert done.code == 2 and "has 1 prompt; a calibration needs 8" in done.err


def test_a_busy_machine_is_told_and_noted(
    tiny_pair: Pair, asked: Path, capsys: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr("adec.machine.load_average", lambda: 7.5)
    small, large = tiny_pair
    done = call(capsys, "calibrate", small, large, "--prompts", asked, *FEW, "-o", "mine")
    assert done.code == 0 and done.err.count("the machine is busy (load 7.5") == 1
    assert find_profile("mine").machine.load == 7.5


def test_ctrl_c_keeps_what_was_measured_and_the_same_command_goes_on(
    tiny_pair: Pair, asked: Path, capsys: Any, home: Path
) -> None:
    small, large = tiny_pair
    asked.write_text("\n".join(f"question {i}" for i in range(30)))
    more = ("-n", 90, "--time-limit", "60s", "-o", "mine")
    arguments = ["calibrate", small, large, "--prompts", asked, *FEW, *more]
    process = start(*arguments, env={"ADEC_HOME": str(home)})
    journal = home / "calibration"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        files = list(journal.glob("*.jsonl")) if journal.exists() else []
        if files and b'"answer fit 0"' in files[0].read_bytes():
            break
        time.sleep(0.005)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and b"the same command goes on" in err
    assert not (home / "profiles" / "mine.toml").exists()
    done = call(capsys, *arguments)
    assert done.code == 0 and "going on where an earlier calibration stopped" in done.err
    assert find_profile("mine").costs is not None


def on_terminal(arguments: list[object], home: Path) -> tuple[int, bytes, bytes]:
    """Exit code, stdout, and what a terminal on stderr received."""
    leader, follower = pty.openpty()
    process = start(*arguments, stderr=follower, env={"TERM": "xterm", "ADEC_HOME": str(home)})
    os.close(follower)
    seen = b""
    while True:
        ready, _, _ = select.select([leader], [], [], 60)
        try:
            data = os.read(leader, 65536) if ready else b""
        except OSError:
            break
        if not data:
            break
        seen += data
    out, _ = process.communicate(timeout=60)
    os.close(leader)
    return process.returncode, out, seen


def test_on_a_terminal_each_stage_has_a_bar(tiny_pair: Pair, asked: Path, home: Path) -> None:
    code, out, seen = on_terminal(["calibrate", *tiny_pair, "--prompts", asked, *FEW], home)
    assert code == 0, seen
    for stage in (
        b"forward times",
        b"answers of the large model",
        b"strategies for real",
        b"proof",
    ):
        assert stage in seen
    assert seen.rstrip().endswith(b".toml") and b"\x1b[?25h" in seen
    assert b"\x1b" not in out


def test_without_a_profile_a_person_gets_a_hint_and_a_pipe_does_not(
    tiny_pair: Pair, home: Path, capsys: Any
) -> None:
    code, out, seen = on_terminal(run_args(tiny_pair, "--json"), home)
    assert code == 0 and b"`adec calibrate SMALL LARGE` finds what pays here" in seen
    assert json.loads(out)["summary"]["strategy"] == "speculate"
    assert call(capsys, *run_args(tiny_pair, "--json")).err == ""
    _, _, seen = on_terminal(run_args(tiny_pair, "--json", "-q"), home)
    assert seen == b""


@pytest.mark.parametrize(
    ("text", "seconds"), [("90", 90), ("90s", 90), ("5m", 300), ("1h", 3600), ("1.5M", 90)]
)
def test_times(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "s", "-5s", "0", "nan", "infh", "1d", "1e9h"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(UsageError, match="--time-limit"):
        seconds_of(text)


class TestWithAServer:
    """The large model is one behind an address, spoken to by text."""

    @pytest.fixture
    def server(self) -> Iterator[FakeServer]:
        with FakeServer(laws.law(8, 4), 8, "openai") as found:
            yield found

    def test_it_says_what_it_asks_and_writes_a_profile_that_runs(
        self, tiny_pair: Pair, asked: Path, capsys: Any, home: Path, server: FakeServer,
        monkeypatch: Any,
    ) -> None:  # fmt: skip
        server.key = KEY
        monkeypatch.setenv("ADEC_API_KEY", KEY)
        words = "calibrate", tiny_pair[0], server.url, "--prompts", asked, *FEW, "-o", "srv"
        done = call(capsys, *words)
        assert done.code == 0, done.err
        assert "will be asked at most some" in done.err and "bought for an answer" in done.out
        path = home / "profiles" / "srv.toml"
        assert KEY not in done.out + done.err + path.read_text()
        profile = find_profile("srv")
        assert profile.models["large"] == f"{server.url}#fake" and profile.settings["ead"]
        path.write_text(path.read_text() + "[prices]\nread = 1.0\nwritten = 2.0\n")
        run = "run", "--threads", 1, "-n", 5, "--json", "--strategy", "ead"
        by_files = "--small", tiny_pair[0], "--large", server.url
        for arguments in ((*run, "--pair", "srv", "abc"), (*run, *by_files, "abc")):
            found = json.loads(call(capsys, *arguments).out)
            assert found["profile"] == "srv"
            assert found["settings"]["up"] == profile.settings["ead"]["up"]
        shown = call(capsys, "inspect", "srv")
        assert shown.code == 0 and "Traceback" not in shown.err
        # prices stay, and are reckoned with
        again = call(capsys, *words)
        assert again.code == 0 and "cost" in again.out and find_profile("srv").prices is not None
        checked = call(capsys, "calibrate", "--check", "srv")
        assert checked.code == 2 and "forward times" in checked.err

    @pytest.mark.parametrize(
        ("more", "code", "said"),
        [
            (("--jobs", 2), 2, "is not spread"),
            (("--ray", "local"), 2, "is not spread"),
            (("--metric", "perplexity"), 2, "a server charges for"),
            (("--budget-tokens", 30), 2, "--budget-tokens 30 is too little"),
            (("--rpc", "127.0.0.1:1"), 2, "GGUF"),
        ],
    )
    def test_what_it_does_not_do_is_refused_before_it_asks(
        self, more: tuple[object, ...], code: int, said: str, tiny_pair: Pair, asked: Path,
        capsys: Any, home: Path, server: FakeServer,
    ) -> None:  # fmt: skip
        words = "calibrate", tiny_pair[0], server.url, "--prompts", asked, *FEW, *more
        done = call(capsys, *words)
        assert done.code == code and said in done.err, done.err
        assert not list(home.rglob("*.toml"))
        # the server was asked what it can, and no prompt
        assert all("question" not in str(body["prompt"]) for body in server.requests)

"""`--rpc` at the command line: settings, messages, exit codes, and answers over real servers."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from adec.engines.llama.rpc_devices import supports_rpc
from adec.profiles.find import find_profile
from tests.cli.command import call, start
from tests.engines.llama.rpc_at_hand import SERVER, needs_rpc
from tests.engines.llama.rpc_server import listening, polite
from tools.network.network_lab import Lab, obstacle

Pair = tuple[Path, Path]
LAB = obstacle() if SERVER and supports_rpc() else None
needs_lab = pytest.mark.skipif(LAB is not None, reason=str(LAB))


def run_of(tiny_pair: Pair, *more: object) -> list[object]:
    small, large = tiny_pair
    return ["run", "--small", small, "--large", large, "-c", 1024, "-n", 24, *more]


@pytest.mark.parametrize("command", ["run", "bench", "calibrate", "inspect"])
def test_a_bad_address_is_one_line_and_exit_code_2(command: str, capsys: Any) -> None:
    words = {"run": ["hi"], "bench": [], "calibrate": [], "inspect": ["env"]}[command]
    outcome = call(capsys, command, "--rpc", "10.0.0.2", *words)
    assert (outcome.code, outcome.out) == (2, "")
    assert outcome.err == "adec: --rpc: '10.0.0.2' has no port. Give HOST:PORT\n"


def test_a_setting_is_named_where_it_stands(
    tiny_pair: Pair, capsys: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("adec.toml").write_text('rpc = "judge:0"\n')
    outcome = call(capsys, *run_of(tiny_pair, "hi"))
    assert outcome.code == 2 and outcome.err.startswith("adec: adec.toml: 'judge:0' has no port")
    assert call(capsys, *run_of(tiny_pair, "--rpc", "off", "hi")).code == 0
    monkeypatch.setenv("ADEC_RPC", "off")
    assert call(capsys, *run_of(tiny_pair, "hi")).code == 0


@pytest.mark.skipif(supports_rpc(), reason="llama-cpp-python is built with RPC here")
def test_without_rpc_in_the_library_one_line_says_how_to_get_it(
    tiny_pair: Pair, capsys: Any
) -> None:
    outcome = call(capsys, *run_of(tiny_pair, "--rpc", "127.0.0.1:9", "hi"))
    assert (outcome.code, outcome.out) == (1, "") and outcome.err.count("\n") == 1
    assert 'CMAKE_ARGS="-DGGML_RPC=on" pip install' in outcome.err


def test_a_folder_has_no_layers_to_give_away(capsys: Any) -> None:
    from adec.practice import large_folder

    outcome = call(capsys, "run", "-m", large_folder(), "--rpc", "127.0.0.1:9", "hi")
    assert outcome.code == 2 and "moves layers of GGUF models" in outcome.err


def test_a_bench_over_servers_has_one_process_and_no_peers(tiny_pair: Pair, capsys: Any) -> None:
    base = ["bench", "-m", tiny_pair[1], "--rpc", "127.0.0.1:9", "--strategies", "plain"]
    outcome = call(capsys, *base, "--jobs", 2)
    assert outcome.code == 2 and "serve one process" in outcome.err


def test_inspect_env_shows_who_answers(capsys: Any) -> None:
    with listening(polite((7, 0, 2), memory=(2**30, 2**31))) as address:
        shown = call(capsys, "inspect", "env", "--rpc", f"localhost:{address.port},127.0.0.1:1")
        found = call(capsys, "inspect", "env", "--json", "--rpc", str(address))
    assert shown.code == 0
    assert "protocol 7.0.2" in shown.out and "private network; 1 device" in shown.out
    assert "no RPC server at 127.0.0.1:1: connection refused" in shown.out
    (row,) = json.loads(found.out)["rpc_servers"]
    assert row["devices"] == [{"bytes": 2**31, "free_bytes": 2**30}] and row["error"] is None


def test_a_profile_keeps_and_gives_its_servers(tiny_pair: Pair, capsys: Any, home: Path) -> None:
    folder = home / "profiles"
    folder.mkdir(parents=True, exist_ok=True)
    small, large = tiny_pair
    (folder / "far.toml").write_text(
        f'schema = 1\nname = "far"\n[pair]\nsmall = "{small}"\nlarge = "{large}"\n'
        '[machine]\nrpc = "127.0.0.1:9"\n'
    )
    assert find_profile("far").machine.rpc == "127.0.0.1:9"
    pair = ["run", "--pair", "far", "-n", 4]
    outcome = call(capsys, *pair, "hi")
    told = "adec: the large model runs on an RPC server: 127.0.0.1:9 (profile far)"
    assert outcome.code == 1 and outcome.err.splitlines()[0] == told
    assert call(capsys, *pair, "--rpc", "off", "hi").code == 0


@pytest.fixture(scope="module")
def lab() -> Iterator[tuple[Lab, str]]:
    with Lab(2) as lab:
        yield lab, lab.serve(SERVER)


@needs_rpc
@needs_lab
def test_answers_over_two_hosts_are_those_of_this_machine(
    lab: tuple[Lab, str], tiny_pair: Pair, capsys: Any
) -> None:
    for strategy in ("plain", "speculate", "dyspec", "ead"):
        args = ("--strategy", strategy, "--json", "hello there")
        here = json.loads(call(capsys, *run_of(tiny_pair, *args)).out)
        far = json.loads(call(capsys, *run_of(tiny_pair, "--rpc", lab[1], *args)).out)
        assert far["text"] == here["text"], strategy


@needs_rpc
@needs_lab
def test_a_trace_says_that_servers_did_it(
    lab: tuple[Lab, str], tiny_pair: Pair, capsys: Any
) -> None:
    lines = call(capsys, *run_of(tiny_pair, "--rpc", lab[1], "--jsonl", "hi")).out.splitlines()
    models = json.loads(lines[0])["models"]
    assert models["large"]["servers"] == 2 and "servers" not in models["small"]


@needs_rpc
@needs_lab
def test_nobody_at_one_of_the_addresses(lab: tuple[Lab, str], tiny_pair: Pair, capsys: Any) -> None:
    gone = f"{lab[0].hosts[0].address}:9"
    outcome = call(capsys, *run_of(tiny_pair, "--rpc", f"{gone},{lab[1]}", "hi"))
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith(f"adec: no RPC server at {gone}: connection refused")


def read(stream: IO[bytes], size: int) -> bytes:
    """Exactly `size` bytes of a stream without a buffer."""
    held = b""
    while len(held) < size and (piece := stream.read(size - len(held))):
        held += piece
    return held


@needs_rpc
@needs_lab
def test_a_server_that_dies_in_mid_answer_leaves_what_was_shown(tiny_pair: Pair) -> None:
    long = ["run", "-m", tiny_pair[1], "-c", 0, "-n", -1, "--plain", "--strategy", "plain"]
    with Lab(2) as lab:
        servers = lab.serve(SERVER)
        process = start(*long, "--rpc", servers, "hello", bufsize=0)
        assert process.stdout is not None
        shown = read(process.stdout, 40)
        for one in lab.hosts[1].started:
            one.kill()
        rest, err = process.communicate(timeout=60)
    assert len(shown) == 40 and process.returncode == 1
    message = err.decode()
    assert message.count("\n") == 1 and f"{lab.hosts[1].address}:50052 is gone" in message
    assert b"Traceback" not in err and process.returncode != -signal.SIGABRT
    assert (shown + rest).decode(errors="replace").strip()


@needs_rpc
@needs_lab
def test_a_link_that_is_cut_shortly_costs_time_and_nothing_else(tiny_pair: Pair) -> None:
    words = ["run", "-m", tiny_pair[1], "-c", 2048, "-n", 1500, "--plain", "-q"]
    words += ["--strategy", "plain", "--raw"]
    process = start(*words, "hello")
    whole, _ = process.communicate(timeout=60)
    with Lab(2) as lab:
        process = start(*words, "--rpc", lab.serve(SERVER), "hello", bufsize=0)
        assert process.stdout is not None
        shown = read(process.stdout, 40)
        lab.hosts[0].cut()
        with pytest.raises(Exception, match="timed out"):
            process.wait(3)
        lab.hosts[0].mend()
        rest, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, b"") and shown + rest == whole

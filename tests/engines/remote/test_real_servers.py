"""Real servers give their own greedy answers through adec: llama-server and llama-cpp-python's.

llama-server is looked for in ADEC_LLAMA_SERVER; the other where its packages are installed.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from itertools import islice

import pytest

from adec.answering.choice import Choice
from adec.answering.plan import plan
from adec.answering.session import Question, open_session
from adec.engines.base import OpenOptions
from adec.models.names import locate
from adec.practice.tasks import problems
from adec.sampling import Sampler
from tools.network.remote_speed import own_answer

LARGE = locate("practice:large")
PROMPTS = 12


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def served(command: list[str], port: int) -> Iterator[str]:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, **quiet) as process:
        try:
            address = f"http://127.0.0.1:{port}/v1"
            for _ in range(600):
                try:
                    with urllib.request.urlopen(f"{address}/models", timeout=5):
                        break
                except (OSError, urllib.error.URLError):
                    assert process.poll() is None, "the server ended"
                    time.sleep(0.1)
            yield address
        finally:
            process.kill()


@pytest.fixture(scope="module")
def llama_server() -> Iterator[str]:
    program = os.environ.get("ADEC_LLAMA_SERVER")
    if not program:
        pytest.skip("ADEC_LLAMA_SERVER names no llama-server")
    port = free_port()
    words = ["-m", str(LARGE), "--port", str(port), "-c", "1024", "-t", "1", "-np", "1"]
    yield from served([program, *words], port)


@pytest.fixture(scope="module")
def python_server() -> Iterator[str]:
    missing = [
        name
        for name in ("fastapi", "uvicorn", "sse_starlette", "pydantic_settings")
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        pytest.skip(f"llama_cpp.server needs {missing[0]}: pip install 'llama-cpp-python[server]'")
    port = free_port()
    words = ["--model", str(LARGE), "--port", str(port), "--logits_all", "True"]
    more = ["--n_ctx", "1024", "--n_threads", "1", "--n_threads_batch", "1"]
    yield from served([sys.executable, "-m", "llama_cpp.server", *words, *more], port)


def held_against_its_own(address: str, strategy: str, *assignments: str) -> None:
    choice = Choice(
        small="practice:small", large=address, strategy=strategy, assignments=assignments
    )
    with open_session(plan(choice), OpenOptions(threads=1)) as session:
        for problem in islice(problems("test", 3), PROMPTS):
            text, summary = session.reply(Question(problem.prompt, max_tokens=96, signals=False))
            assert text == own_answer(session, problem.prompt, 96)
            assert summary["bought"]["requests"] > 0


@pytest.mark.parametrize("strategy", ["plain", "speculate", "adaedl"])
def test_llama_cpp_pythons_server_is_followed_exactly(python_server: str, strategy: str) -> None:
    held_against_its_own(python_server, strategy)


def test_llama_server_is_followed_exactly(llama_server: str) -> None:
    held_against_its_own(llama_server, "plain")


def test_llama_server_is_sampled_from_as_the_model_here(llama_server: str) -> None:
    distant = plan(Choice(small="practice:small", large=llama_server, strategy="plain"))
    here = plan(Choice(small="practice:small", large="practice:large", strategy="plain"))
    with (
        open_session(distant, OpenOptions(threads=1)) as far,
        open_session(here, OpenOptions(threads=1)) as near,
    ):
        for seed, problem in enumerate(islice(problems("test", 5), 5)):
            sampler = Sampler(temperature=0.8, top_k=10, seed=seed)
            question = Question(problem.prompt, max_tokens=48, sampler=sampler)
            assert far.reply(question)[0] == near.reply(question)[0]


def test_ead_trusts_the_small_model_where_it_is_sure(llama_server: str) -> None:
    settings = ("ead.up=0.3", "ead.window=1", "ead.dwell=0")
    choice = Choice(
        small="practice:small", large=llama_server, strategy="ead", assignments=settings
    )
    with open_session(plan(choice), OpenOptions(threads=1)) as session:
        for problem in islice(problems("test", 3), PROMPTS):
            _, summary = session.reply(Question(problem.prompt, max_tokens=96))
            bought = summary["bought"]
            assert bought["tokens_written"] <= summary["tokens"]
            assert summary["small_tokens"] > 0

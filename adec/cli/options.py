"""Options that several commands share, each defined once."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from adec.cli.escapes import unescape

if TYPE_CHECKING:
    from adec.engines.base import OpenOptions
    from adec.sampling import Sampler

MODELS = "Models and strategy"
OUTPUT = "Output"
SERVERS = "Models behind an address"

models = functools.partial(typer.Option, rich_help_panel=MODELS)
sampling = functools.partial(typer.Option, rich_help_panel="Sampling and limits")
output = functools.partial(typer.Option, rich_help_panel=OUTPUT)
answers = functools.partial(typer.Option, rich_help_panel="Whole answers (--strategy iad)")
machine = functools.partial(typer.Option, rich_help_panel="Machine")

Pair = Annotated[
    str | None,
    models("--pair", metavar="NAME", help="A pair, by its profile's name. Default: practice."),
]
Small = Annotated[
    str | None,
    models(
        "--small",
        metavar="MODEL",
        help="The small model: a file, a folder or a name; auto takes one.",
    ),
]
Large = Annotated[
    str | None,
    models(
        "--large",
        metavar="MODEL",
        help="The large model; http://HOST:PORT/v1#MODEL asks a server.",
    ),
]
Model = Annotated[str | None, models("--model", "-m", metavar="MODEL", help="One model alone.")]
Strategy = Annotated[
    str | None,
    models(
        "--strategy",
        metavar="NAME",
        help="How to decode, e.g. speculate, ead or plain. Default: auto, which takes what pays.",
    ),
]
Assignments = Annotated[
    list[str] | None,
    models(
        "--set",
        metavar="KEY=VALUE",
        help="Set an option of a strategy, e.g. ead.up=0.3. May be repeated.",
    ),
]
Keep = Annotated[
    float | None,
    models(
        "--keep",
        metavar="SHARE",
        help="Share of the quality that auto must provably keep, e.g. 0.97. 1 is exact.",
    ),
]

Exactness = Annotated[
    Literal["rounding", "bitwise"],
    models(
        "--exactness",
        help="bitwise: exact strategies run only forwards that were measured to give the very bits "
        "of plain decoding. Default: rounding, which drafts as far as it pays.",
    ),
]

StopWhenLost = Annotated[
    bool,
    answers(
        "--stop-when-lost",
        help="End an answer that is probably going wrong. Learn when: adec calibrate MODEL "
        "--fit sec.",
    ),
]

Verify = Annotated[
    str | None,
    answers(
        "--verify",
        metavar="CMD",
        help='Score answers with this program: answer on stdin, score on stdout. E.g. "wc -c".',
    ),
]
Tests = Annotated[
    Path | None,
    answers(
        "--tests",
        metavar="FILE",
        help="Score Python answers with these tests, e.g. f(2) == 4, one a line.",
    ),
]
AllowExec = Annotated[
    bool, answers("--allow-exec", help="Allow --tests to run code that the model wrote.")
]

UNLIMITED = 2**31 - 1
"""Tokens of an answer that only the context limits: what `-n -1` stands for."""


def _limit_of(tokens: int) -> int:
    if tokens == -1:
        return UNLIMITED
    if tokens < 1:
        raise typer.BadParameter(f"{tokens} is neither 1 or more nor -1, which is no limit.")
    return tokens


FEWEST_TOKENS = 8
"""Of a context that holds a prompt and an answer."""
MOST_THREADS = 512


def _context_of(tokens: int | None) -> int | None:
    if tokens is not None and tokens != 0 and tokens < FEWEST_TOKENS:
        raise typer.BadParameter(
            f"{tokens} is neither {FEWEST_TOKENS} or more nor 0, which is all of the model's."
        )
    return tokens


def _threads_of(count: int | None) -> int | None:
    if count == -1:
        from adec.machine import processors

        return processors()
    if count is not None and not 1 <= count <= MOST_THREADS:
        raise typer.BadParameter(
            f"{count} is neither between 1 and {MOST_THREADS} nor -1, which is all cores."
        )
    return count


def _remember_key_file(path: Path | None) -> Path | None:
    if path is not None:
        # the environment reaches worker processes, too
        os.environ["ADEC_KEY_FILE"] = str(path)
    return path


KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--key-file",
        metavar="FILE",
        callback=_remember_key_file,
        rich_help_panel=SERVERS,
        help="Read a server's key from this file. Default: the variable ADEC_API_KEY.",
    ),
]
MaxTokens = Annotated[
    int,
    sampling(
        "--max-tokens",
        "-n",
        callback=_limit_of,
        help="Write at most this many tokens; -1 is all that the context holds.",
    ),
]
Quiet = Annotated[bool, output("--quiet", "-q", help="Write nothing to stderr but errors.")]


@dataclass(frozen=True)
class SamplingOptions:
    """How tokens are chosen, and where an answer ends."""

    max_tokens: MaxTokens = 256
    temperature: Annotated[
        float, sampling("--temp", "--temperature", help="Temperature. 0 is greedy.")
    ] = 0.0
    top_k: Annotated[
        int, sampling("--top-k", help="Sample from the K likeliest tokens. 0 or less is off.")
    ] = 0
    top_p: Annotated[
        float,
        sampling("--top-p", help="Sample from the likeliest tokens up to this mass. 1 is off."),
    ] = 1.0
    min_p: Annotated[
        float,
        sampling("--min-p", help="Drop tokens below this share of the likeliest. 0 is off."),
    ] = 0.0
    seed: Annotated[
        int | None,
        sampling(
            "--seed",
            "-s",
            help="Repeat a sampled run. -1, the default of run, is a new seed each time.",
        ),
    ] = None
    stop: Annotated[
        list[str] | None,
        sampling(
            "--stop", metavar="TEXT", help="End the answer before this text. May be repeated."
        ),
    ] = None
    escape: Annotated[
        bool,
        sampling(
            "--escape",
            "-e",
            help="Read \\n, \\t, \\xHH and the like in the prompt, --system and --stop.",
        ),
    ] = False

    def sampler(self) -> Sampler:
        """Raises UsageError for values out of range. A seed is drawn where one is needed."""
        from adec.sampling import Sampler, fresh_seed

        seed = self.seed
        if seed == -1:
            seed = fresh_seed()
        elif seed is None:
            seed = 0 if self.temperature == 0 else fresh_seed()
        return Sampler(self.temperature, max(0, self.top_k), self.top_p, self.min_p, seed)

    def typed(self, text: str) -> str:
        """What a text of the command line stands for: with --escape its escapes are read."""
        return unescape(text) if self.escape else text

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop strings."""
        return tuple(map(self.typed, self.stop or ()))


@dataclass(frozen=True)
class MachineOptions:
    """How models are loaded and run on this machine."""

    context: Annotated[
        int | None,
        machine(
            "--ctx",
            "-c",
            callback=_context_of,
            help="Context to reserve, in tokens; 0 is all of the model's. Default: up to 8192.",
        ),
    ] = None
    threads: Annotated[
        int | None,
        machine(
            "--threads",
            "-t",
            callback=_threads_of,
            help="Threads for one token at a time; -1 is all. Default: the physical cores.",
        ),
    ] = None
    batch_threads: Annotated[
        int | None,
        machine(
            "--batch-threads",
            callback=_threads_of,
            help="Threads for several tokens at once. Default: as --threads.",
        ),
    ] = None
    gpu_layers: Annotated[
        int, machine("--gpu-layers", min=-1, help="GGUF: layers on the GPU. -1 puts all there.")
    ] = 0
    rpc: Annotated[
        str | None,
        machine(
            "--rpc",
            metavar="HOST:PORT,…",
            help="GGUF: run the large model's layers on these ggml-rpc-servers; off is none.",
        ),
    ] = None
    memory_map: Annotated[
        bool, machine("--mmap/--no-mmap", help="GGUF: map the weights instead of reading them.")
    ] = True
    engine: Annotated[
        Literal["llama", "torch"] | None,
        machine(
            "--engine",
            help="What runs the models. torch: GGUF files too, as floats and layer by layer.",
        ),
    ] = None
    device: Annotated[
        str | None,
        machine("--device", help="torch: cpu, cuda, cuda:1 or mps. Default: cuda if present."),
    ] = None
    dtype: Annotated[
        Literal["float32", "bfloat16", "float16"] | None,
        machine(
            "--dtype",
            help="torch: number format. Default on the CPU: float32, or a checkpoint's bfloat16 "
            "if faster.",
        ),
    ] = None
    key_file: KeyFile = None
    budget_tokens: Annotated[
        int | None,
        typer.Option(
            "--budget-tokens",
            metavar="N",
            min=1,
            rich_help_panel=SERVERS,
            help="Buy at most this many tokens of a server, read and written.",
        ),
    ] = None

    def open_options(self, threads: int | None = None) -> OpenOptions:
        """The same for an engine; `threads` is the default where none were asked for.

        Raises UsageError for a bad address.
        """
        from adec.engines.base import OpenOptions
        from adec.engines.llama.rpc_addresses import parse_servers

        rpc = None if self.rpc is None else parse_servers(self.rpc, self.rpc_origin or "--rpc")

        return OpenOptions(
            context=self.context,
            threads=self.threads or threads,
            batch_threads=self.batch_threads,
            gpu_layers=self.gpu_layers,
            rpc=None if rpc is None else tuple(map(str, rpc)),
            mmap=self.memory_map,
            device=self.device,
            dtype=self.dtype,
            budget_tokens=self.budget_tokens,
        )

    @property
    def rpc_origin(self) -> str | None:
        """The file or variable that sets --rpc; None where the command line does."""
        if self.rpc is None:
            return None
        from adec.defaults import settings

        setting = settings().get("rpc")
        return None if setting is None or str(setting.value) != self.rpc else setting.origin


GREEDY = SamplingOptions()
SEEDED = SamplingOptions(seed=0)
ANY_MACHINE = MachineOptions()

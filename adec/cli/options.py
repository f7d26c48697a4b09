"""Options that several commands share, each defined once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

MODELS = "Models and strategy"
SAMPLING = "Sampling and limits"
OUTPUT = "Output"
SEARCH = "Whole answers (--strategy iad)"
MACHINE = "Machine"

Pair = Annotated[
    str | None,
    typer.Option(
        "--pair",
        metavar="NAME",
        help="A pair by the name of its profile. Default: practice.",
        rich_help_panel=MODELS,
    ),
]
Small = Annotated[
    str | None,
    typer.Option(
        "--small",
        metavar="PATH",
        help="The small model: a GGUF file or a Hugging Face folder.",
        rich_help_panel=MODELS,
    ),
]
Large = Annotated[
    str | None,
    typer.Option("--large", metavar="PATH", help="The large model.", rich_help_panel=MODELS),
]
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", metavar="PATH", help="One model alone.", rich_help_panel=MODELS),
]
Strategy = Annotated[
    str | None,
    typer.Option(
        "--strategy",
        metavar="NAME",
        help="How to decode, such as ead, speculate or plain. Default: auto, what a profile recommends.",
        rich_help_panel=MODELS,
    ),
]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="KEY=VALUE",
        help="A setting of the strategy, such as ead.up=0.3. May be repeated.",
        rich_help_panel=MODELS,
    ),
]

Verify = Annotated[
    str | None,
    typer.Option(
        "--verify",
        metavar="CMD",
        help="A program that reads an answer on stdin and prints its score, a number, last.",
        rich_help_panel=SEARCH,
    ),
]
Tests = Annotated[
    Path | None,
    typer.Option(
        "--tests",
        metavar="FILE",
        help="Tests of the Python in an answer, one expression a line; needs --allow-exec.",
        rich_help_panel=SEARCH,
    ),
]
AllowExec = Annotated[
    bool,
    typer.Option("--allow-exec", help="Run code that the model wrote.", rich_help_panel=SEARCH),
]
Keep = Annotated[
    float | None,
    typer.Option(
        "--keep",
        metavar="SHARE",
        help="Quality that auto must have proved, such as 0.97. 1 is exact.",
        rich_help_panel=MODELS,
    ),
]

MaxTokens = Annotated[
    int,
    typer.Option(
        "--max-tokens", "-n", min=1, help="Tokens to write at most.", rich_help_panel=SAMPLING
    ),
]
Temperature = Annotated[
    float, typer.Option("--temp", help="Temperature; 0 is greedy.", rich_help_panel=SAMPLING)
]
TopK = Annotated[
    int,
    typer.Option(
        "--top-k", help="Keep the K likeliest tokens; 0 is off.", rich_help_panel=SAMPLING
    ),
]
TopP = Annotated[
    float,
    typer.Option(
        "--top-p",
        help="Keep the likeliest tokens up to this mass; 1 is off.",
        rich_help_panel=SAMPLING,
    ),
]
MinP = Annotated[
    float,
    typer.Option(
        "--min-p",
        help="Drop tokens below this share of the likeliest; 0 is off.",
        rich_help_panel=SAMPLING,
    ),
]
Seed = Annotated[
    int | None,
    typer.Option(
        "--seed",
        help="Repeat a sampled run. Default: a new one each time.",
        rich_help_panel=SAMPLING,
    ),
]
Stop = Annotated[
    list[str] | None,
    typer.Option(
        "--stop",
        metavar="TEXT",
        help="End before this text. May be repeated.",
        rich_help_panel=SAMPLING,
    ),
]

Quiet = Annotated[
    bool,
    typer.Option("--quiet", "-q", help="Nothing on stderr but errors.", rich_help_panel=OUTPUT),
]

Context = Annotated[
    int | None,
    typer.Option(
        "--ctx",
        min=8,
        help="Tokens of context to reserve. Default: the model's own, at most 8192.",
        rich_help_panel=MACHINE,
    ),
]
Threads = Annotated[
    int | None,
    typer.Option(
        "--threads",
        min=1,
        max=512,
        help="Threads for one token. Default: the physical cores.",
        rich_help_panel=MACHINE,
    ),
]
BatchThreads = Annotated[
    int | None,
    typer.Option(
        "--batch-threads",
        min=1,
        max=512,
        help="Threads for several tokens. Default: as --threads.",
        rich_help_panel=MACHINE,
    ),
]
GpuLayers = Annotated[
    int,
    typer.Option(
        "--gpu-layers",
        min=-1,
        help="Layers on the GPU (GGUF); -1 for all.",
        rich_help_panel=MACHINE,
    ),
]
MemoryMap = Annotated[
    bool,
    typer.Option(
        "--mmap/--no-mmap",
        help="Map the weights instead of reading them (GGUF).",
        rich_help_panel=MACHINE,
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="cpu, cuda, cuda:1 or mps (folders). Default: cuda when there is one.",
        rich_help_panel=MACHINE,
    ),
]
Dtype = Annotated[
    Literal["float32", "bfloat16", "float16"] | None,
    typer.Option(
        "--dtype",
        help="Number format (folders). Default: float32 on the CPU.",
        rich_help_panel=MACHINE,
    ),
]

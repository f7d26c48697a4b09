"""`adec calibrate --fit`: options to fit something else than thresholds, and what they run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from adec.calibration.compress.smaller_model import SmallerModel
    from adec.engines.base import OpenOptions

SMALLER = ("drop", "quantise")
"""What makes a smaller model; anything else learns a part of the model."""
CLASSIFIERS = ("exits", "sec")
"""What learns classifiers, of which there are several forms."""

asked = functools.partial(typer.Option, rich_help_panel="What is asked")


@dataclass(frozen=True)
class FitOptions:
    """What is fitted, and how."""

    fit: Annotated[
        Literal[
            "drop",
            "quantise",
            "exits",
            "sec",
            "first",
            "neurons",
            "filter",
            "ppd",
            "hidden-transfer",
            "lexical",
        ]
        | None,
        asked(
            "--fit",
            help="Fit something else than thresholds. drop, quantise: write a smaller model, "
            "without some blocks or with a type for each tensor (-o FILE.gguf). Any other: learn a "
            "part of one model from its own answers, for the strategy of that name; filter is "
            "learn2pd's.",
            show_default=False,
        ),
    ] = None
    form: Annotated[
        Literal["linear", "feedforward", "mamba"] | None,
        asked(
            "--form",
            help="With --fit exits or sec: the form of the classifiers that it learns. "
            "Default: linear.",
            show_default=False,
        ),
    ] = None
    leave_out: Annotated[
        str | None,
        asked(
            "--leave-out",
            metavar="BLOCKS",
            help="With --fit drop: how many blocks, such as 4 or 1/8, or which, such as 3,10,11. "
            "Default: 1/8.",
            show_default=False,
        ),
    ] = None
    halves: Annotated[
        bool,
        asked(
            "--halves",
            help="With --fit drop: leave out attention and feed-forward parts one by one, so many "
            "of each, or those named (a3,a10,f4).",
        ),
    ] = False
    bits: Annotated[
        str | None,
        asked(
            "--bits",
            metavar="BITS",
            help="With --fit quantise: bits a weight, such as 4.5, or as many as one of "
            "llama.cpp's types takes, such as Q4_K_M. Default: 4.5.",
            show_default=False,
        ),
    ] = None

    def check(self) -> None:
        """Raise UsageError for an option that would do nothing."""
        from adec.errors import UsageError

        if self.fit not in CLASSIFIERS and self.form is not None:
            raise UsageError(f"--form has no effect without --fit {' or '.join(CLASSIFIERS)}")
        if self.fit != "drop" and self.leave_out is not None:
            raise UsageError("--leave-out has no effect without --fit drop")
        if self.fit != "drop" and self.halves:
            raise UsageError("--halves has no effect without --fit drop")
        if self.fit != "quantise" and self.bits is not None:
            raise UsageError("--bits has no effect without --fit quantise")

    def check_others(self, given: Mapping[str, bool]) -> None:
        """Raise UsageError for an option of other calibrations, by name, that was given."""
        from adec.errors import UsageError

        if self.fit is None:
            return
        for name, is_given in given.items():
            if is_given and not (name == "--output" and self.fit in SMALLER):
                raise UsageError(f"{name} has no effect with --fit {self.fit}")

    def only_model(self, small: str | None, large: str | None) -> str:
        """The one model that was named. Raises UsageError for none, two, or one that cannot be
        fitted here."""
        from adec.engines.remote import is_remote
        from adec.errors import UsageError

        smaller = self.fit in SMALLER
        if small is None or large is not None:
            what, file = ("is", " -o FILE.gguf") if smaller else ("learns", "")
            raise UsageError(
                f"--fit {self.fit} {what} for one model",
                hint=f"adec calibrate MODEL --fit {self.fit}{file}",
            )
        if smaller and is_remote(small):
            raise UsageError(f"{small} is a server: it cannot be made smaller from here")
        return small

    def make_smaller(
        self, smaller: SmallerModel, options: OpenOptions, say: Callable[[str], None]
    ) -> int:
        """Search for a smaller model and write it; the exit code. Raises AdecError."""
        from adec.calibration.compress.drop_command import run_drop
        from adec.calibration.compress.quantise_command import run_quantise

        if self.fit == "drop":
            return run_drop(smaller, self.leave_out or "1/8", options, say, halves=self.halves)
        return run_quantise(smaller, self.bits or "4.5", options, say)


THRESHOLDS = FitOptions()
"""Nothing else than thresholds."""

"""What a person asked of `adec calibrate`: models, prompts, the profile's name; and what is refused
before any weights are loaded."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path

from adec.answering.choice import Choice
from adec.answering.plan import DEFAULT_PAIR, Plan, plan, plan_yardstick
from adec.calibration.journal_place import where_it_lies
from adec.calibration.prompts import PromptSet, chosen_prompts
from adec.calibration.report.to_profile import Named
from adec.calibration.trials.trial import Metric
from adec.calibration.wishes import Wishes
from adec.engines.base import EngineName, ModelHeader, OpenOptions
from adec.engines.remote import REMOTE_NAME, is_remote
from adec.engines.remote.remote_header import RemoteHeader
from adec.errors import PairError, UsageError
from adec.places import typed_path, user_profiles


@dataclass(frozen=True)
class Request:
    """What a person typed."""

    small: str | None
    large: str | None
    prompts: Path | None
    seed: int
    output: str | None
    svg: Path | None
    png: Path | None
    quiet: bool
    metric: Metric | None
    """None: right answers where they are known, else agreement."""
    wishes: Wishes
    portable: bool = False
    options: OpenOptions = dataclasses.field(default_factory=OpenOptions)
    """As typed, for workers: the threads that are fastest here say nothing of other machines."""
    jobs: int = 1
    ray: str | None = None
    engine: EngineName | None = None

    @property
    def is_spread(self) -> bool:
        """Whether workers shall answer ahead."""
        return self.ray is not None or self.jobs > 1

    def check(self) -> None:
        """Raise UsageError for a budget or a confidence that is none."""
        keep, confidence = self.wishes.keep, self.wishes.confidence
        if not 0 < keep <= 1:
            raise UsageError(f"--keep {keep} is not above 0 and at most 1", hint="1 means exact")
        if not 0.5 <= confidence < 1:
            raise UsageError(f"--confidence {confidence} is not from 0.5 to below 1")

    def plan(self) -> Plan:
        """Plain decoding on the models that were named; the strategies to try come later.

        Raises AdecError.
        """
        if self.small is None:
            return plan(Choice(pair=DEFAULT_PAIR, strategy="plain", engine=self.engine))
        if self.large is None:
            if is_remote(self.small):
                raise UsageError(
                    f"{self.small} alone leaves nothing to calibrate: only plain runs there",
                    hint="give a small model before it: adec calibrate SMALL ADDRESS",
                )
            return plan_yardstick(Choice(model=self.small, engine=self.engine))
        ready = plan(
            Choice(small=self.small, large=self.large, strategy="plain", engine=self.engine)
        )
        if ready.unlike is not None:
            raise PairError(
                f"these two cannot be calibrated together: {ready.unlike}",
                hint="calibrate the large one alone",
            )
        return ready

    def check_place(self, large: ModelHeader, *, rpc: bool) -> None:
        """Raise UsageError for what cannot be had of this model, or where it runs.

        `rpc`: on RPC servers.
        """
        if "canvas" in large.capabilities and self.metric == "perplexity":
            raise UsageError(
                f"--metric perplexity reads answers from left to right, and {large.info.name} is a"
                " diffusion model",
                hint="take agreement or answer",
            )
        if isinstance(large, RemoteHeader):
            self._check_served()
        if rpc and self.is_spread:
            raise UsageError(
                "RPC servers serve one process, and here several would share the work",
                hint="leave --jobs and --ray out, or give --rpc off",
            )

    def _check_served(self) -> None:
        if self.is_spread:
            raise UsageError(
                "a calibration with a server is not spread: the bill is kept in one place",
                hint="leave --jobs and --ray out",
            )
        if self.wishes.metric == "perplexity" or self.metric == "perplexity":
            raise UsageError(
                "--metric perplexity has the large model read every answer, which a server charges"
                " for",
                hint="take agreement or answer",
            )

    def read_prompts(self) -> PromptSet:
        """The prompts that everything is measured on. Raises UsageError."""
        return chosen_prompts(self.prompts, self.seed, answers=self.metric == "answer")

    def destination(self, ready: Plan) -> tuple[str, Path]:
        """The profile's name and file. Raises UsageError."""
        wanted = self.output
        if wanted is not None and wanted.endswith(".toml"):
            path = typed_path(wanted)
            return path.stem, path
        if wanted is None:
            wanted = DEFAULT_PAIR if self.small is None else _stem(ready.models["large"])
            if "small" in ready.models and self.small is not None:
                wanted = f"{_stem(ready.models['small'])}+{wanted}"
        if not wanted or wanted.startswith(".") or any(c in wanted for c in "/\\\0\n"):
            raise UsageError(
                f"{wanted!r} is no name for a profile", hint="a word, or a path that ends in .toml"
            )
        return wanted, user_profiles() / f"{wanted}.toml"

    def named(self, ready: Plan, name: str, prompts: PromptSet) -> Named:
        """Model names as a profile keeps them: those of the built-in pair, or whole paths."""
        if self.small is None:
            large, small = "practice:large", "practice:small"
            return Named(name, large, small, prompts.source, self.seed, self.portable)
        return Named(
            name,
            portable=self.portable,
            large=where_it_lies(ready.models["large"]),
            small=None if "small" not in ready.models else where_it_lies(ready.models["small"]),
            prompts=prompts.source,
            seed=self.seed,
        )


def _stem(header: ModelHeader) -> str:
    if header.info.format == REMOTE_NAME:
        return re.sub(r"[^\w.-]+", "-", header.info.name).lstrip(".") or "server"
    path = header.info.path
    return path.stem if path.suffix == ".gguf" else path.name

"""Which peers there are, which of them can run these models, and how one is opened."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from adec.benchmark.decoders import BenchDecoder
from adec.benchmark.samples import RowHeader
from adec.engines.base import ModelHeader, OpenOptions
from adec.engines.opening import engine_of
from adec.engines.pair import Engines
from adec.errors import PairError, UsageError
from adec.events.records import Role

TRANSFORMERS: dict[str, str] = {
    "transformers": "transformers' generate, one token a forward",
    "transformers-assisted": "transformers' generate with assistant_model",
    "transformers-universal": "transformers' generate across vocabularies: drafts go over as text",
    "transformers-lookup": "transformers' generate with prompt_lookup_num_tokens",
    "transformers-early-exit": "transformers' generate with assistant_early_exit",
    "transformers-beam": "transformers' generate with num_beams, as many as adadec's candidates",
}
PROGRAMS: dict[str, str] = {
    "llama-speculative-simple": "llama.cpp's program, drafts in a chain",
    "llama-speculative": "llama.cpp's program, drafts in a tree",
    "llama-lookup": "llama.cpp's program, drafts from the text so far",
}
DIFFUSION: dict[str, int] = {
    "llama-diffusion-cli": 1,
    "llama-diffusion-cli-2": 2,
    "llama-diffusion-cli-4": 4,
}
"""Rows of llama.cpp's program for diffusion models: positions that it fills a forward."""
DIFFUSION_PROGRAM = "llama-diffusion-cli"
KNOWN = {
    **TRANSFORMERS,
    **PROGRAMS,
    **{
        name: f"llama.cpp's program for diffusion models, {count} a forward"
        for name, count in DIFFUSION.items()
    },
}
BY_IDS = ("transformers-assisted", "llama-speculative-simple", "llama-speculative")
"""Those that hand ids of the small model to the large one."""
UNIVERSAL = "transformers-universal"
"""What transformers calls universal assisted generation. Its other form, for sampling, wants more
of a tokenizer than every model here has."""
BEAM, BEAMS = "transformers-beam", 3
"""Beam search, and its width where no row sets one. It trades speed for quality, unlike the other
peers, so "auto" takes it beside a searching row only."""
EARLY_EXIT = "transformers-early-exit"
"""The model's own lower half drafts, or as many of its layers as stand behind the name: -5. "auto"
takes it beside a row that runs single layers only."""


@dataclass(frozen=True)
class PeerChoice:
    """A peer by name; `program` is the path of its executable where it is one."""

    name: str
    program: str | None = None
    beams: int = 1
    early_exit: int = 0


def find_peers(
    words: str,
    places: tuple[Path, ...],
    models: Mapping[Role, ModelHeader],
    *,
    beams: int = 0,
    layered: bool = False,
    unlike: bool = False,
    greedy: bool = True,
) -> tuple[PeerChoice, ...]:
    """The peers that --peers names; with "auto" all that are installed and can run these models.

    `places` are folders or programs to try before the PATH. `beams` is the number of candidates of
    a searching row, 0 without one; `layered` says whether a row runs single layers, `unlike`
    whether the two models' vocabularies are, and `greedy` whether answers are not sampled. Raises
    UsageError for an unknown or missing peer, PairError for one that cannot run these models.
    """
    if words == "none":
        return ()
    for place in places:
        if not place.exists():
            raise UsageError(f"--peer-path {place} does not exist")
    named = dict.fromkeys(word.strip() for word in words.split(",") if word.strip())
    chosen = []
    for name in KNOWN if words == "auto" else named:
        kind, early_exit = _exit_of(name, models["large"])
        if kind not in KNOWN:
            raise UsageError(
                f"there is no peer {name!r}", hint=f"there are auto, none, {', '.join(KNOWN)}"
            )
        needed = DIFFUSION_PROGRAM if name in DIFFUSION else name
        is_program = name in PROGRAMS or name in DIFFUSION
        program = _program(needed, places) if is_program else None
        obstacle = _obstacle(kind, models, early_exit, unlike=unlike, greedy=greedy)
        missing = is_program and program is None
        apart = (name == BEAM and beams < 2) or (name == EARLY_EXIT and not layered)
        if words == "auto" and (obstacle or missing or apart):
            continue
        if obstacle is not None:
            raise PairError(f"{name} cannot run here: {obstacle}")
        if missing:
            raise UsageError(
                f"{needed} is not on the PATH", hint="say where it lies with --peer-path"
            )
        width = max(2, beams or BEAMS) if name == BEAM else 1
        chosen.append(PeerChoice(name, program, width, early_exit))
    return tuple(chosen)


def _exit_of(name: str, large: ModelHeader) -> tuple[str, int]:
    """The name without a layer to leave at, and that layer, 0 for other peers."""
    kind, _, number = name.rpartition("-")
    if kind == EARLY_EXIT and number.isascii() and number.isdigit():
        return kind, int(number[:6])
    return name, max(1, large.info.layers // 2) if name == EARLY_EXIT else 0


def peer_header(peer: PeerChoice) -> RowHeader:
    """Its line in the table."""
    if peer.early_exit:
        return RowHeader(peer.name, "peer", f"{KNOWN[EARLY_EXIT]}={peer.early_exit}")
    return RowHeader(peer.name, "peer", KNOWN[peer.name])


def open_peer(peer: PeerChoice, engines: Engines, options: OpenOptions) -> BenchDecoder:
    """A peer that answers on the models of `engines`. Raises EngineError."""
    if peer.program is not None and peer.name in DIFFUSION:
        from adec.benchmark.peers.diffusion_peer import DiffusionPeer

        return DiffusionPeer(
            peer_header(peer), peer.program, engines, options, DIFFUSION[peer.name]
        )
    if peer.program is not None:
        from adec.benchmark.peers.llama_peer import LlamaPeer

        return LlamaPeer(peer_header(peer), peer.program, engines, options)
    from adec.benchmark.peers.transformers_peer import TransformersPeer

    return TransformersPeer(peer_header(peer), engines, peer.beams, peer.early_exit)


def _obstacle(
    name: str, models: Mapping[Role, ModelHeader], early_exit: int, *, unlike: bool, greedy: bool
) -> str | None:
    """Why a peer cannot run these models; None when it can."""
    if (name in BY_IDS or name == UNIVERSAL) and "small" not in models:
        return "it needs a small model"
    canvas = "canvas" in models["large"].capabilities
    if canvas != (name in DIFFUSION):
        return "it is a diffusion model" if canvas else "it runs diffusion models only"
    if name in BY_IDS and unlike:
        return f"it needs a small model of the large one's vocabulary; {UNIVERSAL} does not"
    if name == UNIVERSAL and not unlike:
        return "the two share a vocabulary, and transformers then wants transformers-assisted"
    if name == UNIVERSAL and not greedy:
        return "it is greedy"
    if name == EARLY_EXIT and "layers" not in models["large"].capabilities:
        missing = models["large"].missing.get("layers")
        return f"its layers cannot be run one by one{f': {missing}' if missing else ''}"
    layers = models["large"].info.layers
    if name == EARLY_EXIT and not 1 <= early_exit < layers:
        return f"of {layers} layers it can leave after 1 to {layers - 1}"
    program = name not in TRANSFORMERS
    wanted = "llama" if program else "torch"
    used = models.values() if not unlike or name == UNIVERSAL else [models["large"]]
    if any(engine_of(header) != wanted for header in used):
        return f"it reads {'GGUF files' if program else 'what --engine torch runs'}"
    return None


def _program(name: str, places: tuple[Path, ...]) -> str | None:
    for place in places:
        if place.is_dir():
            found = shutil.which(name, path=str(place.resolve()))
            if found is not None:
                return found
        elif place.name == name:
            return str(place.resolve())
    return shutil.which(name)

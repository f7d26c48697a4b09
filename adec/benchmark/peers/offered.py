"""Other people's decoders in the same run, on the same models and prompts: which there are, and which can work here."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from adec.benchmark.decoders import Contestant
from adec.benchmark.samples import RowHeader
from adec.engines.base import ModelHeader, OpenOptions
from adec.engines.pair import Engines
from adec.errors import PairError, UsageError

TRANSFORMERS: dict[str, str] = {
    "transformers": "transformers' generate, one token a forward",
    "transformers-assisted": "transformers' generate with assistant_model",
    "transformers-lookup": "transformers' generate with prompt_lookup_num_tokens",
    "transformers-beam": "transformers' generate with num_beams, as many as adadec has candidates",
}
PROGRAMS: dict[str, str] = {
    "llama-speculative-simple": "llama.cpp's program, drafts in a chain",
    "llama-speculative": "llama.cpp's program, drafts in a tree",
    "llama-lookup": "llama.cpp's program, drafts from the text so far",
}
BEAM, BEAMS = "transformers-beam", 3
"""Beam search, and its width where no adadec row says one. It answers another question than the other peers, so "auto"
takes it beside an adadec row only."""
NEEDS_SMALL = ("transformers-assisted", "llama-speculative-simple", "llama-speculative")


@dataclass(frozen=True)
class PeerChoice:
    """A peer by name; `program` is the path of its executable where it is one."""

    name: str
    program: str | None = None
    beams: int = 1


def find_peers(
    words: str,
    places: tuple[Path, ...],
    large: ModelHeader,
    small: ModelHeader | None,
    *,
    beams: int = 0,
) -> tuple[PeerChoice, ...]:
    """The peers that --peers names, or with "auto" those that are there and can run these models.

    `places` are folders or programs looked at before the PATH. `beams` is the width of an adadec row, 0 without one. Raises UsageError for an unknown or missing one,
    PairError for one that cannot run these models.
    """
    if words == "none":
        return ()
    known = {**TRANSFORMERS, **PROGRAMS}
    for place in places:
        if not place.exists():
            raise UsageError(f"--peer-path {place} does not exist")
    if words == "auto":
        return tuple(
            _choice(name, program, beams)
            for name in known
            if (name != BEAM or beams > 1)
            and _obstacle(name, large, small) is None
            and ((program := _program(name, places)) is not None or name in TRANSFORMERS)
        )
    chosen = []
    for name in dict.fromkeys(word.strip() for word in words.split(",") if word.strip()):
        if name not in known:
            raise UsageError(
                f"there is no peer {name!r}", hint=f"there are auto, none, {', '.join(known)}"
            )
        obstacle = _obstacle(name, large, small)
        if obstacle is not None:
            raise PairError(f"{name} cannot run here: {obstacle}")
        program = _program(name, places)
        if name in PROGRAMS and program is None:
            raise UsageError(
                f"{name} is not on the PATH", hint="say where it lies with --peer-path"
            )
        chosen.append(_choice(name, program, beams))
    return tuple(chosen)


def _choice(name: str, program: str | None, beams: int) -> PeerChoice:
    return PeerChoice(name, program, max(2, beams or BEAMS) if name == BEAM else 1)


def peer_header(peer: PeerChoice) -> RowHeader:
    """Its line in the table."""
    return RowHeader(peer.name, "peer", {**TRANSFORMERS, **PROGRAMS}[peer.name])


def open_peer(peer: PeerChoice, engines: Engines, options: OpenOptions) -> Contestant:
    """Ready to answer on the models of `engines`. Raises EngineError."""
    if peer.program is not None:
        from adec.benchmark.peers.llama_peer import ProgramPeer

        return ProgramPeer(peer_header(peer), peer.program, engines, options)
    from adec.benchmark.peers.transformers_peer import TransformersPeer

    return TransformersPeer(peer_header(peer), engines, peer.beams)


def _obstacle(name: str, large: ModelHeader, small: ModelHeader | None) -> str | None:
    """Why a peer cannot run these models; None when it can."""
    if name in NEEDS_SMALL and small is None:
        return "it needs a small model"
    wanted = "gguf" if name in PROGRAMS else "safetensors"
    formats = {header.info.format for header in (large, small) if header is not None}
    if formats != {wanted}:
        kinds = {"gguf": "GGUF files", "safetensors": "Hugging Face folders"}
        return f"it reads {kinds[wanted]}"
    return None


def _program(name: str, places: tuple[Path, ...]) -> str | None:
    if name not in PROGRAMS:
        return None
    for place in places:
        if place.is_dir():
            found = shutil.which(name, path=str(place.resolve()))
        else:
            found = str(place.resolve()) if place.name == name else None
        if found is not None:
            return found
    return shutil.which(name)

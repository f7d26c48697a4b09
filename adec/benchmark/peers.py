"""Other people's decoders in the same run, on the same models and prompts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from adec.benchmark.answer import RowHeader
from adec.benchmark.contestant import Contestant
from adec.engines.base import OpenOptions
from adec.engines.pair import Engines
from adec.errors import UsageError
from adec.session import Choice


@dataclass(frozen=True)
class PeerChoice:
    """A peer by name; `program` is the path of its executable where it is one."""

    name: str
    program: str | None = None


def peer_header(peer: PeerChoice) -> RowHeader:
    """Its line in the table."""
    raise UsageError(f"there is no peer {peer.name!r}")


def open_peer(peer: PeerChoice, engines: Engines, options: OpenOptions) -> Contestant:
    """Ready to answer. Raises EngineError."""
    raise UsageError(f"there is no peer {peer.name!r}")


def find_peers(words: str, folders: tuple[Path, ...], choice: Choice) -> tuple[PeerChoice, ...]:
    """The peers that --peers names, or those that are there."""
    return ()

"""Several tokens from one forward of one model, with a small part that was learned for it."""

from __future__ import annotations

from adec.decoding.heads import hidden_transfer, lexical, ppd
from adec.decoding.method import Method, Needs

_FORESEES: Needs = {"large": frozenset({"rewind", "tree", "pseudo"})}

HEADS_METHODS = (
    Method(
        "ppd",
        "learned prompt tokens behind each draft foresee the next ones; the model verifies",
        ppd.PpdSettings,
        ppd.Ppd,
        {"large": frozenset({"rewind", "tree", "vectors"})},
        parts=ppd.parts,
    ),
    Method(
        "hidden-transfer",
        "mapped states of a token pass for those of the next ones; the model verifies its drafts",
        hidden_transfer.TransferSettings,
        hidden_transfer.build,
        _FORESEES,
        parts=hidden_transfer.parts,
    ),
    Method(
        "lexical",
        "pads behind a token name the rest of its unit where they are sure; trusted, or verified",
        lexical.LexicalSettings,
        lexical.build,
        _FORESEES,
        parts=lexical.parts,
    ),
)

"""Two models, or one and its own text: trust the small one, or draft and verify."""

from __future__ import annotations

from adec.decoding.method import ALONE, PAIR, REWIND, TREE, Method
from adec.decoding.pair import (
    adaedl,
    bild,
    cascade,
    dyspec,
    ead,
    fly,
    smartspec,
    speculate,
)
from adec.decoding.pair.model_free import aded, lookup, recycling, suffix
from adec.decoding.pair.unlike import ead_by_text, slem, tli

PAIR_METHODS = (
    Method(
        "speculate",
        "drafts by whatever pays on this machine, judged exactly by the large model",
        speculate.SpeculateSettings,
        speculate.build,
        ALONE,
        uses={"small": REWIND},
        by_text=True,
        default_row="always",
    ),
    Method(
        "ead",
        "the small model writes while it is sure, the large one where it is not",
        ead.EadSettings,
        ead_by_text.build,
        {"small": frozenset(), "large": frozenset()},
        by_text=True,
        check=ead_by_text.check,
        needs_by_settings=lambda settings: PAIR if settings.takes_back else {},
        default_row="pair",
    ),
    Method(
        "dyspec",
        "a token tree grown by the small model's own probabilities",
        dyspec.DySpecSettings,
        dyspec.build,
        {"small": TREE, "large": TREE},
    ),
    Method(
        "smartspec",
        "the draft length of greatest expected goodput",
        smartspec.SmartSpecSettings,
        smartspec.build,
        PAIR,
        by_text=True,
    ),
    Method(
        "adaedl",
        "the small model drafts until its entropy bounds acceptance too low",
        adaedl.AdaEdlSettings,
        adaedl.build,
        PAIR,
        by_text=True,
    ),
    Method(
        "slem",
        "drafts by text: the small model may be of another family",
        slem.SlemSettings,
        slem.build,
        PAIR,
        by_text=True,
    ),
    Method(
        "tli",
        "drafts from the tokens that two vocabularies share, drawn and judged by rejection",
        tli.TliSettings,
        tli.build,
        PAIR,
        by_text=True,
    ),
    Method(
        "cascade",
        "a deferral rule says token by token whose distribution counts",
        cascade.CascadeSettings,
        cascade.build,
        PAIR,
    ),
    Method(
        "bild",
        "the small model writes until unsure; the large one rolls back grave errors",
        bild.BildSettings,
        bild.build,
        PAIR,
        by_text=True,
    ),
    Method(
        "fly",
        "a lone draft that differs stands when those after it agree",
        fly.FlySettings,
        fly.build,
        PAIR,
        by_text=True,
    ),
    Method(
        "aded",
        "drafts from a tri-gram table by tree search; one model",
        aded.AdedSettings,
        aded.build,
        ALONE,
    ),
    Method(
        "recycling",
        "drafts what the model nearly said before; one model",
        recycling.RecyclingSettings,
        recycling.build,
        ALONE,
        default_row="one model",
    ),
    Method(
        "suffix",
        "drafts what most often followed the longest repetition; one model",
        suffix.SuffixSettings,
        suffix.build,
        ALONE,
    ),
    Method(
        "lookup",
        "drafts what followed the same words earlier in the text; one model",
        lookup.LookupSettings,
        lookup.build,
        ALONE,
        default_row="always",
    ),
)

"""What smaller models lose, as a table and in words."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from adec.calibration.compress.block_sets import Blocks
from adec.calibration.compress.evopress import Candidate
from adec.calibration.compress.known_texts import TextLoss, together

DRAWS = 2000
LEGEND = (
    "KL: nats a token that what is left differs from the whole model by, on prompts held out and "
    "its own answers to them. Agreement: share of tokens of which both name the same next one."
)


def loss_table(
    rules: Mapping[str, Sequence[Candidate]],
    losses: Mapping[Candidate, Sequence[TextLoss]],
    found: Candidate,
    column: str,
    words: Callable[[Candidate], str],
) -> str:
    """One row a rule, which may have several candidates; the first rule is the whole model.

    `losses`: by candidate, on each held-out text. `column` is the head of what `words` says.
    """
    own = [part.kl for part in losses[found]]
    rows = [("rule", column, "KL", "more than found [95 %]", "perplexity", "agreement")]
    for number, (rule, candidates) in enumerate(rules.items()):
        each = [together(losses[one]) for one in candidates]
        kl = np.mean([[part.kl for part in losses[one]] for one in candidates], axis=0)
        total = together(each)
        alone = number == 0 or found in candidates
        beside = "" if alone else interval_text(kl - np.array(own))
        said = words(candidates[0]) if len(candidates) == 1 else f"{len(candidates)} drawn"
        nats = f"{total.kl:.3f}"
        if len(candidates) > 1:
            nats += f" ({min(one.kl for one in each):.2f} to {max(one.kl for one in each):.2f})"
        perplexity, share = f"{total.perplexity:.2f}", f"{100 * total.agreement:.1f} %"
        rows.append((rule, said, nats, beside, perplexity, share))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = [
        "  ".join(word.ljust(width) for word, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    lines.insert(1, "─" * max(map(len, lines)))
    return "\n".join(lines)


def interval_text(differences: np.ndarray) -> str:
    """Mean of paired differences, with a percentile-bootstrap interval of 95 %."""
    rng = np.random.default_rng(0)
    draws = rng.integers(0, len(differences), (DRAWS, len(differences)))
    low, high = np.percentile(differences[draws].mean(axis=1), (2.5, 97.5))
    return f"{differences.mean():+.3f} [{low:+.3f}, {high:+.3f}]"


def name_of(left_out: Blocks) -> str:
    """Numbers of blocks, neighbours as a range: 3, 10-12."""
    words: list[str] = []
    numbers = sorted(left_out)
    start = 0
    for at in range(len(numbers)):
        if at + 1 < len(numbers) and numbers[at + 1] == numbers[at] + 1:
            continue
        first, last = numbers[start], numbers[at]
        words.append(f"{first}" if first == last else f"{first}-{last}")
        start = at + 1
    return ", ".join(words) or "none"

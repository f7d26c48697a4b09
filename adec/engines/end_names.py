"""Tokens that end an answer whatever a file calls them: llama.cpp knows them by name (llama-vocab.cpp, special_eog_ids)."""

from __future__ import annotations

from collections.abc import Sequence

_BAR, _LOW = "\N{FULLWIDTH VERTICAL LINE}", "\N{LOWER ONE EIGHTH BLOCK}"
END_NAMES = frozenset(
    name.encode()
    for name in (
        *(
            "<|eot_id|>",
            "<|im_end|>",
            "<|end|>",
            "<|return|>",
            "<|call|>",
            "<|flush|>",
            "<|calls|>",
        ),
        *(
            "<end_of_turn>",
            "<|endoftext|>",
            "</s>",
            "<|eom_id|>",
            "<EOT>",
            "_<EOT>",
            "[EOT]",
            "[EOS]",
        ),
        *("<|end_of_text|>", "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>", "[e~["),
        f"<{_BAR}end{_LOW}of{_LOW}sentence{_BAR}>",
        # padding, repository and file marks of fill-in-the-middle models
        *("<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]"),
        *("<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>"),
        *("<|file_sep|>", "<REP>"),
    )
)
SHOWN_NAMES = frozenset({b"<|channel|>", b"<|message|>", b"<|start|>", b"<|constrain|>"})
"""Control tokens that llama.cpp prints: they part an answer from its reasoning."""


def end_tokens(declared: set[int], tokens: Sequence[bytes]) -> set[int]:
    """`declared` and every token whose name (as the file writes it, UTF-8) ends an answer."""
    by_name = {name: token for token, name in enumerate(tokens) if name in END_NAMES}
    end = declared | set(by_name.values())
    # where these stand beside it, "<|end|>" ends a message and "</s>" is plain text
    names = {tokens[token] for token in end}
    if names >= {b"<|call|>", b"<|return|>"} or names >= {b"<|calls|>", b"<|flush|>"}:
        end.discard(by_name.get(b"<|end|>", -1))
    if b"<|tool_response>" in names:
        end.discard(by_name.get(b"</s>", -1))
    return end

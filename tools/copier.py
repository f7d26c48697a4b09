"""A model that copies its prompt: its weights are computed, not learned.

Drafting without a second model pays where an answer repeats earlier text, and what it gains should
be measured on a model that really repeats. The circuit is the induction head (Olsson et al. 2022,
"In-context Learning and Induction Heads", arXiv 2209.11895), with four tokens of context instead of
one:

    block 1   four heads look one, two, three and four tokens back (a peak of RoPE's cosines)
              and note the tokens there
    block 2   looks for the position with the same four tokens before it, and predicts its token

The code of a token is 64 signs, drawn from a seed; one sign tells the two marks of a chat from all
other tokens. The assistant's mark has the code of the user's: after it, the model repeats what
followed the user's mark, and then the end mark. A change, old to new, replaces a token wherever it
occurs. Any text comes back unchanged unless four tokens in a row occur twice: then the two
continuations are mixed.

    python -m tools.copier copier --change red=blue --problems copies.jsonl
    python -m tools.inflate copier copier.gguf
    adec bench --model copier.gguf --task copies.jsonl --strategies lookup,recycling,speculate
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from random import Random

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor

from adec.practice import large_folder
from adec.practice.tasks.words import CITIES, COLOURS, ITEMS, JOBS, NAMES, PETS
from adec.whole_file import whole_file
from tools.train import tokenizer as names
from tools.train.llama_model import Shape
from tools.train.model_files import configurations

CODE = 64
"""Signs of a code; the agreement of two codes has a standard deviation of 0.125, so all differ."""
BACK = 4
"""Tokens of context that identify a position."""
VOTES = 4
"""Heads of block 2; each compares another eight signs of a code."""
CONSTANT = 16
"""Dimensions that are always one."""
SHAPE = Shape(width=512, layers=2, feed_forward=512, head=CODE)
THETA = 1e8
"""Base of RoPE, so large that half of a head hardly rotates within a thousand tokens."""
FAST, MARK, SLOW = 12, 15, 16
"""Pairs of a head: before FAST they tell positions apart, from SLOW on they compare codes.

The pair MARK compares marks.
"""
PEAK = 13.0
"""Length of keys and queries of block 1: a neighbour gets e^-14 of the right position's weight."""
LIKENESS = 3.5
"""The same in block 2: a position with one of four tokens different gets about e^-12."""
MARKED = 17.0
"""The same for the sign of a mark: a mark looks for a mark, whatever precedes them."""
SAID = 8.0
"""Amplitude of the predicted token, relative to the current one."""
LOGIT = 60.0
"""The logit of the predicted token; others stay below half of it."""

WORDS = tuple(dict.fromkeys((*NAMES, *ITEMS, *CITIES, *JOBS, *PETS, *COLOURS)))
"""Words that are one token each."""

_HERE, _NOTES, _SAY = 0, CODE, CODE * (1 + BACK)
_ONE = CODE * (2 + BACK)


def weights(changes: Mapping[int, int], vocabulary: int, seed: int = 0) -> dict[str, Tensor]:
    """The tensors of the model under Hugging Face's names, float32.

    `changes` maps a token id to the one that replaces it.
    """
    codes = _signs(vocabulary, seed)
    codes[:, -1] = -1.0
    codes[names.USER_ID, -1] = 1.0
    codes[names.ASSISTANT_ID] = codes[names.USER_ID]
    said = _signs(vocabulary, seed + 1)
    embedding = torch.zeros(vocabulary, SHAPE.width)
    embedding[:, _HERE : _HERE + CODE] = codes
    embedding[:, _SAY : _SAY + CODE] = said
    embedding[:, _ONE : _ONE + CONSTANT] = 1.0
    tensors = {"model.embed_tokens.weight": embedding}
    filled = 2 * CODE + CONSTANT
    for layer, attention in enumerate((_look_back(), _say_again(changes, said))):
        at = f"model.layers.{layer}."
        # an RMS norm is undone by its weights, as every state has the same length
        tensors[at + "input_layernorm.weight"] = _norm(filled)
        filled += BACK * CODE
        for part, matrix in zip("qkvo", attention, strict=True):
            tensors[f"{at}self_attn.{part}_proj.weight"] = matrix
        tensors[at + "post_attention_layernorm.weight"] = _norm(filled)
        tensors |= _no_feed_forward(at, seed + layer)
    last = torch.zeros(SHAPE.width)
    last[_SAY : _SAY + CODE] = (
        LOGIT
        / (CODE * SAID)
        * math.sqrt(((SAID**2 + 1) * CODE + (BACK + 1) * CODE + CONSTANT) / SHAPE.width)
    )
    tensors["model.norm.weight"] = last
    return tensors


def write(folder: Path, tokenizer: Path, changes: Mapping[str, str], seed: int = 0) -> None:
    """Write the model as a Hugging Face folder, with the tokenizer of the folder `tokenizer`.

    Raises ValueError when a word of `changes` is not one token.
    """
    words = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))

    def only(word: str) -> int:
        ids: list[int] = words.encode(f" {word}").ids
        if len(ids) != 1:
            raise ValueError(f"{word!r} is {len(ids)} tokens; choose a word that is one")
        return ids[0]

    ids = {only(old): only(new) for old, new in changes.items()}
    folder.mkdir(parents=True, exist_ok=True)
    tensors = weights(ids, words.get_vocab_size(), seed)
    save_file(
        {name: tensor.bfloat16().contiguous() for name, tensor in tensors.items()},
        folder / "model.safetensors",
        metadata={"format": "pt"},
    )
    for file, content in configurations(SHAPE, THETA).items():
        (folder / file).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    shutil.copyfile(tokenizer / "tokenizer.json", folder / "tokenizer.json")


def problems(count: int, seed: int, changes: Mapping[str, str]) -> Iterator[dict[str, str]]:
    """Texts of 40 to 160 random words to repeat with the changes, as `prompt` and `answer`."""
    rng = Random(seed)
    for _ in range(count):
        words = rng.choices(WORDS, k=rng.randint(40, 160))
        answer = " ".join(changes.get(word, word) for word in words)
        yield {"prompt": " ".join(words) + ".", "answer": answer + "."}


def _look_back() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Block 1: head h notes the code of the token h + 1 positions back.

    Returns query, key, value and output projections.
    """
    query, key, value, output = (torch.zeros(SHAPE.width, SHAPE.width) for _ in range(4))
    one = slice(_ONE, _ONE + CONSTANT)
    for head in range(BACK):
        rows = head * CODE
        for pair in range(FAST):
            # RoPE rotates both by their positions, so they align at a distance of head + 1
            angle = -(head + 1) * THETA ** (-pair / (CODE / 2))
            query[rows + pair, one] = PEAK * math.cos(angle) / CONSTANT
            query[rows + CODE // 2 + pair, one] = PEAK * math.sin(angle) / CONSTANT
            key[rows + pair, one] = PEAK / CONSTANT
        own = torch.arange(rows, rows + CODE)
        value[own, torch.arange(_HERE, _HERE + CODE)] = 1.0
        output[torch.arange(_NOTES + rows, _NOTES + rows + CODE), own] = 1.0
    return query, key, value, output


def _say_again(changes: Mapping[int, int], said: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Block 2: each head finds the position after the same tokens, and predicts its token."""
    query, key, value, output = (torch.zeros(SHAPE.width, SHAPE.width) for _ in range(4))
    one = slice(_ONE, _ONE + CONSTANT)
    say = torch.eye(CODE)
    # the text ends with the assistant's mark, so the answer ends there
    for old, new in {names.ASSISTANT_ID: names.END_ID, **changes}.items():
        say += torch.outer(said[new] - said[old], said[old]) / CODE
    signs = 2 * (CODE // 2 - SLOW) // BACK
    slow = [*range(SLOW, CODE // 2), *range(CODE // 2 + SLOW, CODE)]
    for head in range(VOTES):
        rows = head * CODE
        for place, row in enumerate(slow):
            back, sign = divmod(place, signs)
            column = back * CODE + head * signs + sign
            query[rows + row, _HERE + column] = LIKENESS
            # a key is compared by the tokens before it, one further back than the query
            key[rows + row, _NOTES + column] = LIKENESS
        # queries at marks only, keys after marks; the first token has no predecessor and notes
        # itself
        query[rows + MARK, _HERE + CODE - 1] = MARKED / 2
        query[rows + MARK, one] = MARKED / 2 / CONSTANT
        key[rows + MARK, _NOTES + CODE - 1] = MARKED / 2
        key[rows + MARK, _HERE + CODE - 1] = -MARKED / 2
        own = torch.arange(rows, rows + CODE)
        value[own, _SAY : _SAY + CODE] = say
        output[torch.arange(_SAY, _SAY + CODE), own] = SAID / VOTES
    return query, key, value, output


def _no_feed_forward(at: str, seed: int) -> dict[str, Tensor]:
    """A feed-forward layer that writes zero."""
    generator = torch.Generator().manual_seed(seed)
    gate, up = torch.randn(2, SHAPE.feed_forward, SHAPE.width, generator=generator) / 16
    return {
        f"{at}mlp.gate_proj.weight": gate,
        f"{at}mlp.up_proj.weight": up,
        f"{at}mlp.down_proj.weight": torch.zeros(SHAPE.width, SHAPE.feed_forward),
    }


def _norm(filled: int) -> Tensor:
    return torch.full((SHAPE.width,), math.sqrt(filled / SHAPE.width))


def _signs(rows: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 2, (rows, CODE), generator=generator) * 2.0 - 1.0


def main() -> None:
    """Run the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m tools.copier", description="Writes a model that repeats its prompt."
    )
    parser.add_argument("folder", type=Path, help="the Hugging Face folder to write")
    parser.add_argument("--tokenizer", type=Path, default=large_folder())
    parser.add_argument("--change", action="append", default=[], metavar="OLD=NEW")
    parser.add_argument("--problems", type=Path, metavar="FILE", help="write texts to repeat, too")
    parser.add_argument("-n", type=int, default=20, metavar="N", help="so many (default 20)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    try:
        changes = dict(change.split("=", 1) for change in options.change)
        write(options.folder, options.tokenizer, changes)
        if options.problems is not None:
            with whole_file(options.problems) as file:
                for problem in problems(options.n, options.seed, changes):
                    file.write(json.dumps(problem) + "\n")
    except (OSError, ValueError) as error:
        parser.error(str(error))


if __name__ == "__main__":
    main()

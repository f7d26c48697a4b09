"""The tokenizer of the practice pair: byte-level BPE.

The pre-tokenizer is the one that llama.cpp calls `qwen2`, which makes every digit a token. There is
no normalizer, since llama.cpp has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from adec.practice.tasks import TRAINING, Problem, problems

if TYPE_CHECKING:
    from tokenizers import Tokenizer

VOCABULARY = 1280
TRAINING_PROBLEMS = 40_000
PAD, USER, ASSISTANT, END = "<|pad|>", "<|user|>", "<|assistant|>", "<|end|>"
SPECIAL = (PAD, USER, ASSISTANT, END)
MASK = "<|mask|>"  # of the canvas model alone
PAD_ID, USER_ID, ASSISTANT_ID, END_ID = range(4)

LLAMA_CPP_NAME = "qwen2"
PATTERN = (
    r"(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])"
    r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] == 'user' -%}"
    "{{- '<|user|>' + message['content'] -}}"
    "{%- elif message['role'] == 'assistant' -%}"
    "{{- '<|assistant|>' + message['content'] + '<|end|>' -}}"
    "{%- elif message['role'] == 'system' -%}"
    "{{- raise_exception('this model takes no system message') -}}"
    "{%- else -%}"
    "{{- raise_exception('this model knows the roles user and assistant only') -}}"
    "{%- endif -%}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


def train(seed: int = 0, count: int = TRAINING_PROBLEMS) -> Tokenizer:
    """Learn the vocabulary from training problems; the same seed gives the same tokenizer."""
    from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(_texts(seed, count), trainer)
    return tokenizer


def _texts(seed: int, count: int) -> Iterator[str]:
    for problem in islice(problems("train", seed, makers=TRAINING), count):
        yield problem.prompt
        yield problem.solution


def encode(tokenizer: Tokenizer, batch: Iterable[Problem]) -> list[tuple[list[int], int]]:
    """Each problem as (ids of the rendered chat, index at which the reply starts)."""
    batch = list(batch)
    prompts = tokenizer.encode_batch([problem.prompt for problem in batch])
    replies = tokenizer.encode_batch([problem.solution for problem in batch])
    return [
        (
            [USER_ID, *prompt.ids, ASSISTANT_ID, *reply.ids, END_ID],
            len(prompt.ids) + 2,
        )
        for prompt, reply in zip(prompts, replies, strict=True)
    ]

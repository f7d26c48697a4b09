"""The ids of `tokenizers` and of llama.cpp are the same, whatever the text."""

from __future__ import annotations

import random
import unicodedata
from collections.abc import Iterator
from itertools import islice

import pytest

from adec.practice import large_folder, large_gguf, small_folder, small_gguf
from adec.practice.tasks import problems
from tools.train.tokenizer import SPECIAL

llama_cpp = pytest.importorskip("llama_cpp")
tokenizers = pytest.importorskip("tokenizers")
pytestmark = pytest.mark.skipif(not small_gguf().exists(), reason="no trained models here")

HARD = (
    "", " ", "  ", "\n", "\r\n", " \n ", "\t\tx", "a  b", "a   \n\n  b", "don't I'LL we'Ve 'S",
    "'\u017f", "12345", "\uff11\uff12", "Ⅷ x²", "1,234.5", "e\u0301 é", "\u0000\u0001\u007f",
    "\ufffd", "\ufeffx",
    "naïve", "日本語 テキスト", "العربية", "हिन्दी", "👩‍👩‍👧‍👦 🇩🇪", "\u200b\u00a0\u2003x",
    "a\u0085b",
    *SPECIAL, "x<|end|>y", "<|user|> 1 <|assistant|>", "def f(x):\n    return [y for y in x]\n",
)  # fmt: skip


class LlamaCpp:
    """A vocabulary loaded by llama.cpp, without weights."""

    def __init__(self, path: str) -> None:
        llama_cpp.llama_backend_init()
        options = llama_cpp.llama_model_default_params()
        options.vocab_only = True
        self.model = llama_cpp.llama_model_load_from_file(path.encode(), options)
        assert self.model
        self.vocab = llama_cpp.llama_model_get_vocab(self.model)

    def ids(self, text: str, *, special: bool = False) -> list[int]:
        data = text.encode()
        room = len(data) + 8
        out = (llama_cpp.llama_token * room)()
        count = llama_cpp.llama_tokenize(self.vocab, data, len(data), out, room, False, special)
        assert count >= 0
        return list(out[:count])


@pytest.fixture(scope="module")
def pair() -> tuple[object, LlamaCpp]:
    tokenizer = tokenizers.Tokenizer.from_file(str(small_folder() / "tokenizer.json"))
    return tokenizer, LlamaCpp(str(small_gguf()))


def plain_ids(tokenizer: object, text: str) -> list[int]:
    """Ids of a text in which no control token is recognised, as llama.cpp does by default."""
    tokenizer.encode_special_tokens = True  # type: ignore[attr-defined]
    return list(tokenizer.encode(text, add_special_tokens=False).ids)  # type: ignore[attr-defined]


def strings() -> Iterator[str]:
    rng = random.Random(7)
    yield from HARD
    for problem in islice(problems("test", 3), 600):
        yield problem.prompt
        yield problem.solution
    planes = [
        chr(point)
        for point in range(0x110000)
        if not 0xD800 <= point < 0xE000
        and point % 89 == 0
        and unicodedata.category(chr(point)) not in ("Cn", "Co")
    ]
    ascii_text = [chr(point) for point in range(128)]
    marks = [chr(point) for point in range(0x300, 0x370)]
    for _ in range(1500):
        pool = rng.choice(
            (ascii_text, planes, marks + ascii_text, [" ", "\n", "\r", "a", "1", "'s"])
        )
        yield "".join(rng.choices(pool, k=rng.randint(1, 40)))
    for _ in range(800):
        yield rng.randbytes(rng.randint(1, 48)).decode("utf-8", "replace")
    good = "Straße 東京 12 naïve 👩‍🚀".encode()
    for cut in range(len(good)):
        yield good[cut:].decode("utf-8", "replace") + good[:cut].decode("utf-8", "replace")


def test_ids_agree_on_thousands_of_strings(pair: tuple[object, LlamaCpp]) -> None:
    tokenizer, other = pair
    compared = 0
    for text in strings():
        assert plain_ids(tokenizer, text) == other.ids(text), repr(text)
        compared += 1
    assert compared > 3000


def test_control_tokens_agree(pair: tuple[object, LlamaCpp]) -> None:
    tokenizer, other = pair
    tokenizer.encode_special_tokens = False  # type: ignore[attr-defined]
    text = "<|user|>What is 1 + 2?<|assistant|>Answer: 3.<|end|><|pad|>"
    ids = tokenizer.encode(text, add_special_tokens=False).ids  # type: ignore[attr-defined]
    assert ids == other.ids(text, special=True)
    assert [ids[0], ids[-2], ids[-1]] == [1, 3, 0]


def test_text_comes_back(pair: tuple[object, LlamaCpp]) -> None:
    tokenizer, _ = pair
    for text in islice(strings(), 400):
        assert tokenizer.decode(plain_ids(tokenizer, text), skip_special_tokens=False) == text  # type: ignore[attr-defined]


def test_both_models_have_one_tokenizer() -> None:
    small, large = (folder() / "tokenizer.json" for folder in (small_folder, large_folder))
    assert small.read_bytes() == large.read_bytes()
    assert large_gguf().exists()


def test_transformers_reads_the_same_tokenizer(pair: tuple[object, LlamaCpp]) -> None:
    transformers = pytest.importorskip("transformers")
    _, other = pair
    loaded = transformers.AutoTokenizer.from_pretrained(large_folder())
    for text in islice(strings(), 40, 900):
        assert loaded.encode(text) == other.ids(text, special=True), repr(text)
    chat = [{"role": "user", "content": "Reverse this list: fig, owl."}]
    text = loaded.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
    assert text == "<|user|>Reverse this list: fig, owl.<|assistant|>"
    chat += [{"role": "assistant", "content": "Answer: owl, fig."}, chat[0]]
    text = loaded.apply_chat_template(chat, tokenize=False)
    assert text.count("<|end|>") == 1
    with pytest.raises(Exception, match="this model takes no system message"):
        loaded.apply_chat_template(
            [{"role": "system", "content": "Be kind."}, chat[0]], tokenize=False
        )

"""Chat templates are hostile; so is what people type into them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.answering.prompt import encode_prompt, printable, render_chat
from adec.engines.table import TableEngine
from adec.engines.vocabularies.vocabulary import Vocabulary
from adec.errors import UsageError

CHAT = (
    "{% for m in messages %}<u>{{ m.content }}<e>{% endfor %}"
    "{% if add_generation_prompt %}<a>{% endif %}"
)


class ByteTokenizer:
    """A token a byte; <u>, <a> and <e> are control tokens 256 to 258."""

    names = {"<u>": 256, "<a>": 257, "<e>": 258}  # noqa: RUF012

    def encode(self, text: str, *, special: bool) -> list[int]:
        ids: list[int] = []
        while text:
            name = text[:3]
            if special and name in self.names:
                ids.append(self.names[name])
                text = text[3:]
            else:
                ids += text[0].encode()
                text = text[1:]
        return ids


def engine(template: str | None = CHAT, **more) -> TableEngine:
    pieces = (*(bytes([i]) for i in range(256)), b"<u>", b"<a>", b"<e>")
    vocabulary = Vocabulary(
        "gpt2", pieces, frozenset({256, 257, 258}), frozenset({258}), chat_template=template, **more
    )
    made = TableEngine(lambda _: [1 / 259] * 259, size=259, vocabulary=vocabulary)
    made.tokenizer = ByteTokenizer()
    return made


def test_a_template_wraps_the_prompt_and_raw_does_not() -> None:
    ids, text = encode_prompt(engine(), "Hi")
    assert ids == [256, *b"Hi", 258, 257] and text == "<u>Hi<e><a>"
    assert encode_prompt(engine(), "Hi", raw=True)[0] == list(b"Hi")
    assert encode_prompt(engine(None), "Hi")[0] == list(b"Hi")


@given(
    st.lists(st.sampled_from(["<u>", "<a>", "<e>", "x", " ", "é"]), min_size=1, max_size=8).map(
        "".join
    )
)
def test_control_tokens_come_from_the_template_only(typed) -> None:
    ids, _ = encode_prompt(engine(), typed)
    assert ids == [256, *typed.encode(), 258, 257]
    assert encode_prompt(engine(), typed, raw=True)[0] == list(typed.encode())


def test_control_tokens_in_a_raw_prompt_count_where_that_is_asked_for() -> None:
    ids, text = encode_prompt(engine(), "<u>Hi<e>\n<a>", raw=True, special=True)
    assert ids == [256, *b"Hi", 258, *b"\n", 257] and text == "<u>Hi<e>\n<a>"
    with pytest.raises(UsageError, match="--special"):
        encode_prompt(engine(), "<u>", special=True)
    begun = engine(None, begin=256, adds_begin=True)
    assert encode_prompt(begun, "<u>a", raw=True, special=True)[0] == [256, 97]


def test_a_begin_token_is_put_once() -> None:
    assert encode_prompt(engine(None, begin=1, adds_begin=True), "a")[0] == [1, 97]
    with_begin = engine("<u>{{ messages[0].content }}", begin=256, adds_begin=True)
    assert encode_prompt(with_begin, "a")[0] == [256, 97]


@pytest.mark.parametrize(
    "template",
    [
        "{{ raise_exception('no system message here') }}",
        "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
        "{{ 'a' * 10**9 }}",
        "{{ 10 ** 10 ** 10 }}",
        "{{ [0] * 1000000000 }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ 'a'.format.__globals__.x }}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{% include '/etc/passwd' %}",
        "{{ 'a'|center(1000000000) }}",
        "{{ 1 // 0 }}",
        "{% if %}",
        "x" * 600_000,
    ],
)
def test_a_bad_template_is_one_line(template) -> None:
    with pytest.raises(UsageError) as caught:
        render_chat(template, [{"role": "user", "content": "x"}], Vocabulary("gpt2", (b"a",)))
    assert "\n" not in str(caught.value)
    assert "template" in str(caught.value) and len(str(caught.value)) < 400


def test_what_real_templates_use_is_there() -> None:
    template = (
        "{%- set ns = namespace(n=0) -%}{%- for m in messages -%}{%- set ns.n = ns.n + 1 -%}"
        "{{ m['content'] | trim | upper }}{%- if loop.last %}!{% endif -%}{%- endfor -%}"
        "{{ ns.n }}{{ {'a': 1} | tojson }}{% generation %}g{% endgeneration %}{{ 3 * 4 }}"
        "{{ bos_token }}{{ eos_token + pad_token }}{{ unk_token }}"
    )
    special = {"bos_token": "a", "eos_token": "<e>", "pad_token": "<p>", "range": "no"}
    vocabulary = Vocabulary("gpt2", (b"a",), special=special)
    text = render_chat(template, [{"role": "user", "content": " hi "}], vocabulary)
    assert text == 'HI!1{"a": 1}g12a<e><p>'


def test_special_tokens_do_not_stand_for_what_the_template_is_given() -> None:
    vocabulary = Vocabulary("gpt2", (b"a",), special={"messages": "x", "tools": "y"})
    text = render_chat(
        "{{ messages[0].content }}{{ eos_token }}", [{"role": "user", "content": "hi"}], vocabulary
    )
    assert text == "hi"


def test_a_system_message_needs_a_place() -> None:
    with pytest.raises(UsageError, match="no chat template"):
        encode_prompt(engine(None), "x", system="be brief")
    with pytest.raises(UsageError, match="--raw"):
        encode_prompt(engine(), "x", system="be brief", raw=True)
    assert encode_prompt(engine(), "x", system="s")[1] == "<u>s<e><u>x<e><a>"


def test_nothing_to_read_is_an_error() -> None:
    with pytest.raises(UsageError, match="empty"):
        encode_prompt(engine(None), "")


def test_lone_surrogates_are_replaced() -> None:
    assert printable("a\ud800b") == "a\ufffdb"

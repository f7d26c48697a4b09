"""Models are found where other programs keep them, whatever lies beside them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from adec.models import stores
from adec.models.stores import Found, Surroundings, built_in, find_models

DIGEST = "ab" * 32


@pytest.fixture
def around(tmp_path: Path) -> Surroundings:
    """An empty home and an empty folder to be in."""
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    return Surroundings({}, home, here)


def file(path: Path, text: str = "GGUF") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def found(around: Surroundings) -> dict[str, Found]:
    """What was found beside the built-in models and what packages of this machine hold."""
    own = {model.name for model in built_in()}
    return {
        model.name: model
        for model in find_models(around)
        if model.name not in own and model.store != "package"
    }


def manifest(around: Surroundings, where: str, text: str | None = None) -> Path:
    layers = [
        {"mediaType": "application/vnd.ollama.image.license", "digest": "sha256:" + "0" * 64},
        {"mediaType": "application/vnd.ollama.image.model", "digest": f"sha256:{DIGEST}"},
    ]
    whole = json.dumps({"schemaVersion": 2, "layers": layers}) if text is None else text
    return file(around.home / ".ollama" / "models" / "manifests" / where, whole)


def hub(around: Surroundings, commit: str = "c1") -> Path:
    cache = around.home / ".cache" / "huggingface" / "hub"
    return cache / "models--Owner--Some-0.5B" / "snapshots" / commit


def test_files_of_this_folder_have_the_names_of_their_places(around: Surroundings) -> None:
    file(around.here / "one.gguf")
    file(around.here / "below" / "Two.GGUF")
    file(around.here / "below" / "too" / "deep.gguf")
    file(around.here / "big-00002-of-00003.gguf")
    file(around.here / "big-00001-of-00003.gguf")
    file(around.here / ".hidden" / "three.gguf")
    file(around.here / "web" / "config.json", "{}")
    file(around.here / "folder" / "config.json", "{}")
    file(around.here / "folder" / "model.safetensors")
    models = found(around)
    assert set(models) == {"one", "below/Two", "folder", "big-00001-of-00003"}
    assert models["below/Two"].aliases == ("Two",)
    assert models["folder"].path == around.here / "folder"


def test_the_current_snapshot_of_a_hub_repository_is_taken(around: Surroundings) -> None:
    blob = file(hub(around).parents[1] / "blobs" / DIGEST)
    for commit in ("c1", "c2", "c3"):
        hub(around, commit).mkdir(parents=True)
        (hub(around, commit) / "q4.gguf").symlink_to(blob)
    file(hub(around).parents[1] / "refs" / "main", "c2\n")
    (model,) = found(around).values()
    assert model.name == "Owner/Some-0.5B/q4"
    assert model.path == hub(around, "c2") / "q4.gguf"
    assert model.store == "Hugging Face"


@pytest.mark.parametrize(
    ("variable", "below"),
    [("HF_HUB_CACHE", ""), ("HF_HOME", "hub"), ("XDG_CACHE_HOME", "huggingface/hub")],
)
def test_the_hub_moves_with_its_variables(
    around: Surroundings, tmp_path: Path, variable: str, below: str
) -> None:
    snapshot = tmp_path / "moved" / below / "models--a--b" / "snapshots" / "x"
    file(snapshot / "config.json", "{}")
    file(snapshot / "model.safetensors")
    moved = Surroundings({variable: str(tmp_path / "moved")}, around.home, around.here)
    assert found(moved)["a/b"].path == snapshot


def test_ollama_names_are_those_that_ollama_shows(around: Surroundings) -> None:
    blob = file(around.home / ".ollama" / "models" / "blobs" / f"sha256-{DIGEST}")
    manifest(around, "registry.ollama.ai/library/llama3.2/latest")
    model = found(around)["llama3.2:latest"]
    assert (model.path, model.aliases, model.problem) == (blob, ("llama3.2",), None)
    for where, name in [
        ("registry.ollama.ai/somebody/tuned/1b", "somebody/tuned:1b"),
        ("hf.co/owner/name/Q4_K_M", "hf.co/owner/name:Q4_K_M"),
    ]:
        manifest(around, where)
        assert (
            stores._ollama_model(
                blob.parents[1], manifest(around, where), tuple(where.split("/"))
            ).name
            == name
        )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ('{"layers": 7}', "cannot be read"),
        ("{}", "names no model file"),
        ('{"layers": null}', "names no model file"),
        (
            '{"layers": [{"mediaType": "application/vnd.ollama.image.model",'
            ' "digest": "sha256:../../../../etc/passwd"}]}',
            "names no model file",
        ),
        (None, "is not in blobs/"),
    ],
)
def test_a_manifest_that_lies_is_a_line_with_its_reason(
    around: Surroundings, text: str | None, said: str
) -> None:
    manifest(around, "registry.ollama.ai/library/bad/1b", text)
    assert said in (found(around)["bad:1b"].problem or "")


def test_lm_studio_and_llama_cpp(around: Surroundings, tmp_path: Path) -> None:
    file(around.home / ".lmstudio" / "models" / "owner" / "repo" / "a.gguf")
    file(around.home / ".cache" / "lm-studio" / "models" / "owner" / "repo" / "b.gguf")
    file(around.home / ".cache" / "llama.cpp" / "c.gguf")
    file(tmp_path / "elsewhere" / "models" / "d.gguf")
    file(around.home / ".lmstudio-home-pointer", str(tmp_path / "elsewhere"))
    models = found(around)
    assert set(models) == {"owner/repo/a", "owner/repo/b", "c", "d"}
    named = Surroundings({"LLAMA_CACHE": "~/mine"}, around.home, around.here)
    file(around.home / "mine" / "e.gguf")
    assert "e" in found(named)
    assert "c" not in found(named)


def test_a_file_that_two_places_name_is_listed_once(around: Surroundings) -> None:
    whole = file(around.home / ".cache" / "llama.cpp" / "c.gguf")
    (around.here / "link.gguf").symlink_to(whole)
    assert set(found(around)) == {"link"}


def loop(around: Surroundings) -> None:
    (around.here / "loop").symlink_to(around.here)
    (around.here / "self.gguf").symlink_to(around.here / "self.gguf")


def unreadable(around: Surroundings) -> None:
    (around.here / "closed").mkdir(mode=0)


def pipe(around: Surroundings) -> None:
    os.mkfifo(around.here / "pipe.gguf")


def no_folder(around: Surroundings) -> None:
    around.here.rmdir()
    file(around.home / ".ollama" / "models" / "manifests")
    file(around.home / ".lmstudio-home-pointer", "\0")


@pytest.mark.parametrize("trap", [loop, unreadable, pipe, no_folder])
def test_traps_are_walked_around(
    around: Surroundings, trap: Callable[[Surroundings], None]
) -> None:
    trap(around)
    assert found(around) == {}


def test_counts_are_bounded(around: Surroundings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "MOST", 5)
    monkeypatch.setattr(stores, "MOST_ENTRIES", 50)
    for number in range(80):
        file(around.here / f"{number:03}.gguf")
    assert len(found(around)) == 5


def test_a_package_with_a_model_is_found_by_its_metadata_alone(
    around: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = file(tmp_path / "site" / "llm_thing" / "Thing-1M.gguf")
    file(model.parent / "__init__.py", "raise AssertionError('imported')")
    about = tmp_path / "site" / "llm_thing-1.0.dist-info"
    file(about / "METADATA", "Metadata-Version: 2.1\nName: llm-thing\nVersion: 1.0\n")
    file(
        about / "RECORD", "llm_thing/__init__.py,,\nllm_thing/Thing-1M.gguf,sha256=x,4\nno.gguf,,\n"
    )
    file(tmp_path / "site" / "broken-1.0.dist-info" / "RECORD", "\0.gguf,,")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    models = {m.name: m for m in find_models(around) if m.store == "package"}
    assert models["llm-thing/Thing-1M"].path == model
    file(about / "RECORD", "llm_thing/Thing-1M.gguf,sha256=x,4\n")
    (found,) = (m for m in find_models(around) if m.path == model)
    assert (found.name, found.aliases) == ("llm-thing", ("thing", "Thing-1M"))

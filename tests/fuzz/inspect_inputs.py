"""Well-formed files of every kind that `adec inspect` reads, and mutants with their commands."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from adec.events.codec import encode_line
from adec.events.records import Attempt, Candidate, Pause, Step, Token, TreeRecord
from tests.display.fakes import events_of
from tests.engines.gguf.test_gguf_header import sentencepiece
from tests.engines.gguf.tiny_gguf import RawGguf, write_tiny_gguf, write_tiny_mamba
from tests.engines.torch.tiny_folder import write_tiny_folder
from tests.fuzz import gguf_mutation
from tests.fuzz.mutation import change_json, change_lines, change_toml, flip, tear

TREE = TreeRecord(
    (3, 4, 5, 6), (-1, 0, 0, 2), (0.5, None, 0.25, 0.1), (0, 2), ("a", "b", "\x1b[1m", "d")
)
TALL = (
    Step(
        "wake",
        (
            Token(3, "small", "accepted", 0.3, 0.2, 0.6, "a"),
            Token(5, "large", "corrected", 2.0, text="é"),
        ),
        drafted=4,
        accepted=2,
        detail=TREE,
        reason="four drafts",
    ),
    Step(
        "pause",
        (Token(7, "large", text="x"),),
        detail=Pause((Candidate((7,), 0.5, 0.1, "x"), Candidate((8, 9), 0.4, 0.2, "yz")), 0, 1),
    ),
    Step("attempt", (), detail=Attempt(1, (1, 2), 0.5, True, "feedback\n", 3.0, "text")),
)
"""Steps with all that a step can hold."""
LAYERS = {"layers": 1, "width": 32, "heads": 2, "kv_heads": 1, "context": 128}


@dataclass(frozen=True)
class Look:
    """What to type, and the file that was changed."""

    words: tuple[str, ...]
    file: Path


class Workshop:
    """Makes mutants in a folder: the same ones for the same random numbers."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.kinds: dict[str, Callable[[random.Random], Look]] = {
            "trace": self._trace,
            "profile": self._profile,
            "gguf": self._gguf,
            "folder": self._folder,
            "settings": self._settings,
            "samples": self._samples,
            "result": self._result,
            "tasks": self._tasks,
        }
        self._traces = [
            _trace_of("some words\nin two lines", 1),
            _trace_of("é漢字 and more words", 2, tall=True),
        ]
        self._profiles = _profiles(folder)
        self._ggufs = _ggufs(folder)
        self._model = write_tiny_folder(folder / "model", layers=1, width=16, heads=2, kv_heads=1)
        # weights say nothing to a reader of headers, which are checked against the file's size
        # alone
        self._bench = _bench(folder)

    def _trace(self, rng: random.Random) -> Look:
        path = self._write("trace.jsonl", change_lines(rng.choice(self._traces), rng))
        views = (
            (), ("--json",), ("--color", "always"), ("--step", str(rng.randint(1, 12))),
            ("--step", str(rng.randint(1, 12)), "--json"),
            ("--html", str(self.folder / "page.html")),
            ("--svg", str(self.folder / "picture.svg")), ("--replay", "--speed", "1e6"),
        )  # fmt: skip
        return Look((str(path), *rng.choice(views)), path)

    def _profile(self, rng: random.Random) -> Look:
        path = self._write("profile.toml", change_toml(rng.choice(self._profiles), rng))
        words = rng.choice(
            (
                (str(path),),
                (str(path), "--json"),
                ("--pair", str(path)),
                ("config", "--pair", str(path)),
            )
        )
        return Look(words, path)

    def _gguf(self, rng: random.Random) -> Look:
        base = rng.choice(self._ggufs)
        data = gguf_mutation.mutate(RawGguf.read(base), rng)
        if rng.random() < 0.1:
            data = tear(data, rng)
        return self._model_words(self._write("model.gguf", data), base, rng)

    def _folder(self, rng: random.Random) -> Look:
        """One file of a model folder changed, the others as they are."""
        names = (
            "config.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "generation_config.json",
            "model.safetensors",
        )
        name = rng.choice(names)
        mutant = self.folder / "mutant"
        mutant.mkdir(exist_ok=True)
        for other in self._model.iterdir():
            there = mutant / other.name
            if not there.is_symlink():
                there.unlink(missing_ok=True)
                there.symlink_to(other.resolve())
        source, target = self._model / name, mutant / name
        target.unlink(missing_ok=True)
        data = source.read_bytes() if source.is_file() else b'{"eos_token_id": 3}'
        changed = _safetensors if name == "model.safetensors" else change_json
        target.write_bytes(changed(data, rng))
        return self._model_words(mutant, self._model, rng, file=target)

    def _model_words(
        self, path: Path, whole: Path, rng: random.Random, file: Path | None = None
    ) -> Look:
        words = rng.choice(
            (
                (str(path),),
                (str(path), "--json"),
                (str(path), "--ctx", "64"),
                (str(path), str(whole)),
                (str(whole), str(path)),
            )
        )
        return Look(words, file or path)

    def _settings(self, rng: random.Random) -> Look:
        base = (
            b'pair = "practice"\nthreads = 2\nset = ["ead.up=0.3"]\n'
            b'temp = 0.5\nseed = 7\ncolor = "never"\nquiet = true\n'
        )
        path = self._write("home/config.toml", change_toml(base, rng))
        return Look(rng.choice((("config",), ("config", "--json"), ("env",))), path)

    def _samples(self, rng: random.Random) -> Look:
        path = self._write("samples.jsonl", change_lines(self._bench[0], rng))
        return Look((str(path),), path)

    def _result(self, rng: random.Random) -> Look:
        path = self._write("bench.json", change_json(self._bench[1], rng))
        return Look((str(path), *rng.choice(((), ("--json",)))), path)

    def _tasks(self, rng: random.Random) -> Look:
        base = (
            b'{"prompt": "2 + 3?", "answer": 5}\n'
            b'{"prompt": "a", "answer": "b.*c", "match": "regex"}\n'
            b'{"prompt": "c", "answer": "true x", "match": "command"}\n\n'
            b'{"prompt": "d"}\n'
        )
        path = self._write("tasks.jsonl", change_lines(base, rng))
        return Look((str(path),), path)

    def _write(self, name: str, data: bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
        return path


def _trace_of(text: str, seed: int, *, tall: bool = False) -> bytes:
    events = list(events_of(text, seed))
    if tall:
        events[3:3] = TALL
    return "".join(encode_line(event) + "\n" for event in events).encode()


def _profiles(folder: Path) -> list[bytes]:
    """The shipped profile, and one that a calibration of two tables has made."""
    from adec.calibration.report.to_profile import Named, profile_text
    from adec.calibration.wishes import Wishes
    from adec.places import shipped_profiles
    from tests.calibration.tables import calibration, engines, plan_of, prompts

    wishes = Wishes(keep=0.6, confidence=0.9, seconds=1e6, max_tokens=8)
    (folder / "calibration").mkdir(exist_ok=True)
    result = calibration(folder / "calibration", engines(1), prompts(1, 30, fit=8), wishes).run()
    plan = plan_of(engines(1))
    text = profile_text(
        result,
        Named("letters", "practice:large", "practice:small", "letters", 0),
        plan.models,
    )
    return [(shipped_profiles() / "practice.toml").read_bytes(), text.encode()]


def _ggufs(folder: Path) -> list[Path]:
    bases = [
        write_tiny_gguf(folder / "a.gguf", **LAYERS, chat_template="{{ messages }}"),
        write_tiny_gguf(folder / "b.gguf", swa=8, **LAYERS),
        write_tiny_gguf(folder / "c.gguf", experts=4, **LAYERS),
        write_tiny_mamba(folder / "d.gguf", layers=1),
    ]
    return [*bases, sentencepiece(RawGguf.read(bases[0])).write(folder / "e.gguf")]


def _safetensors(data: bytes, rng: random.Random) -> bytes:
    """The header changed, its length made to fit or not; or bytes of it."""
    length = int.from_bytes(data[:8], "little")
    if rng.random() < 0.3:
        return rng.choice((flip(data, rng, 8 + length), tear(data, rng)))
    header = change_json(data[8 : 8 + length], rng)
    said = len(header) if rng.random() < 0.9 else rng.choice((0, 1, length, 2**31, 2**63))
    return said.to_bytes(8, "little") + header + data[8 + length :]


def _bench(folder: Path) -> tuple[bytes, bytes]:
    """The samples file and the JSON of a small bench of tables."""
    import io

    from adec.benchmark.json_csv import write_json
    from adec.benchmark.run_bench import run_bench
    from tests.benchmark.rows import request_of, samples_of

    place = folder / "bench"
    place.mkdir(exist_ok=True)
    request = request_of(6)
    with samples_of(request, place, fresh=True) as samples:
        text = io.StringIO()
        write_json(run_bench(request, samples, lambda: False), samples.results(), text)
        return samples.path.read_bytes(), text.getvalue().encode()

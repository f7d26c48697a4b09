"""llama.cpp's own programs: one process a prompt, timed as the program itself reports.

Each run loads the models anew, which makes a bench with these rows slow although the reported times
exclude it. Drafts follow llama.cpp's defaults. The programs encode the rendered prompt themselves,
so the number of its tokens is compared with ours.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path

from adec.answering.prompt import encode_prompt
from adec.answering.session import Question
from adec.benchmark.decoders import Interrupted, Reply
from adec.benchmark.peers.llama_program import (
    ATTEMPTS,
    last_words,
    run_program,
    shared_options,
)
from adec.benchmark.samples import BenchAnswer, RowHeader
from adec.engines.base import OpenOptions
from adec.engines.pair import Engines
from adec.errors import EngineError

_TIMED = r"{0}\s+(\d+) tokens in\s+([\d.]+) seconds"
_ENCODED = re.compile(_TIMED.format("encoded"))
_DECODED = re.compile(_TIMED.format("decoded"))


class LlamaPeer:
    """One program on the GGUF files of a pair."""

    def __init__(
        self, header: RowHeader, program: str, engines: Engines, options: OpenOptions
    ) -> None:
        self.header = header
        self._program = program
        self._engines = engines
        self._options = options

    def reply(self, question: Question, run: int, interrupted: Interrupted) -> Reply | None:
        engines = self._engines
        ids, rendered = encode_prompt(
            engines["large"], question.text, system=question.system, raw=question.raw
        )
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "prompt.txt"
            file.write_text(rendered, encoding="utf-8")
            context = min(engines.context, len(ids) + question.max_tokens + 64)
            command = self._command(question, file, context)
            for _ in range(ATTEMPTS):
                done = run_program(self.header.name, command, Path(folder), interrupted)
                if done is None:
                    return None
                out, log, peak = done
                encoded, decoded = _ENCODED.search(log), _DECODED.search(log)
                if encoded is not None and decoded is not None:
                    break
            else:
                raise EngineError(f"{self.header.name} printed no times: {last_words(log)}")
        if abs(int(encoded[1]) - len(ids)) > 1:
            raise EngineError(
                f"{self.header.name} reads the prompt as {encoded[1]} tokens, adec as {len(ids)}"
            )
        first, rest = float(encoded[2]), float(decoded[2])
        text, ended = self._until_end(_text(out, rendered))
        # a round that is accepted whole may go on behind the end, and beyond -n
        tokens = int(decoded[1]) - max(0, (ended or 1) - 1)
        if tokens > question.max_tokens:
            text = self._cut(text, question.max_tokens)
        finish = "length" if tokens >= question.max_tokens and ended is None else "end"
        answer = BenchAnswer(
            self.header.name, run, first + rest, tokens, text,
            finish=finish, first_seconds=first, peak_bytes=peak,
        )  # fmt: skip
        return Reply(answer, None)

    def _until_end(self, text: str) -> tuple[str, int | None]:
        """The text before the first end token, which programs print as a word, and the number of
        tokens from there on; None where there is no end token."""
        large = self._engines["large"]
        pieces = (large.vocabulary.pieces[token] for token in large.vocabulary.end)
        names = [piece.decode("utf-8", "replace") for piece in pieces if piece]
        places = [(text.find(name), name) for name in names if name in text]
        if not places:
            return text, None
        at, _ = min(places)
        rest, count = text[at:], 0
        for name in names:
            count += rest.count(name)
            rest = rest.replace(name, "")
        if rest:
            count += len(large.tokenizer.encode(rest, special=False))
        return text[:at].rstrip(), count

    def _cut(self, text: str, most: int) -> str:
        """The first `most` tokens of a text."""
        large = self._engines["large"]
        ids = large.tokenizer.encode(text, special=False)[:most]
        return b"".join(large.vocabulary.pieces[token] for token in ids).decode("utf-8", "ignore")

    def close(self) -> None:
        """Nothing stays between two prompts."""

    def _command(self, question: Question, file: Path, context: int) -> list[str]:
        large, small, options = self._engines["large"], self._engines.get("small"), self._options
        sampler = question.sampler
        command = [
            self._program, "-m", str(large.info.path), "-f", str(file),
            "-n", str(question.max_tokens), "-c", str(context), "--seed", str(sampler.seed),
            "--temp", str(sampler.temperature), "--top-k", str(sampler.top_k),
            "--top-p", str(sampler.top_p), "--min-p", str(sampler.min_p),
            *shared_options(options),
        ]  # fmt: skip
        if small is not None and self.header.name != "llama-lookup":
            command += ["-md", str(small.info.path)]
        if self.header.name == "llama-speculative-simple":
            # with a plain draft model the program loads it but does not use it unless told to
            command += ["--spec-type", "draft-simple"]
        return command


def _text(out: str, rendered: str) -> str:
    """What follows the prompt, which these programs print first."""
    text = out.lstrip("\n")
    at = text.find(rendered.strip())
    return (text[at + len(rendered.strip()) :] if at >= 0 else text).strip()

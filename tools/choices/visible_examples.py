"""IAD on programming tasks, with the examples that a prompt shows as its verifier.

    python -m tools.choices.visible_examples humaneval.jsonl --model coder.gguf --samples iad.jsonl

Takes the prompts of a task file whose docstring shows at least one example with a literal result
(`>>> f(1)` and a line with 2, `f(1) == 2`, `f(1) ➞ 2`), and whose replies a hidden command judges.
Greedy decoding, best-of-N and IAD answer each; the latter two are told how many visible examples
their answers pass, never what the hidden tests say. A gain is in points over greedy decoding with
its paired 95 % interval, with problems won and lost; tokens fed are a multiple of greedy's.
--samples keeps what is done: the same command goes on from there. Runs code that models wrote, in
the sandbox.
"""

from __future__ import annotations

import ast
import doctest
import json
import re
from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from adec.answering.choice import Choice
from adec.answering.plan import plan
from adec.answering.session import Question, Session, open_session
from adec.benchmark.columns import points
from adec.benchmark.statistics import Gain
from adec.benchmark.tasks.task import Task
from adec.benchmark.tasks.task_files import read_tasks
from adec.cli.failures import exit_code_of, leave
from adec.engines.base import OpenOptions
from adec.judging.matches import code_of
from adec.judging.verifiers import CodeVerifier, Rating
from adec.sampling import Sampler
from adec.whole_file import whole_file
from tools.script import arguments_of, table_of

_EQUATION = re.compile(r"\s*(\w+\(.*\))\s*(?:==|=>|->|➞|=|should return|returns)\s*(\S.*)")


def main(arguments: Sequence[str] | None = None) -> None:
    """Answer with every row, keep the samples, print the table."""
    parser = arguments_of(__doc__)
    parser.add_argument("task", type=Path, help="task file with a command that judges each reply")
    parser.add_argument("--model", default="practice:large", help="(practice:large)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("-n", type=int, default=1000, help="problems at most")
    parser.add_argument("--max-tokens", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--candidates", type=int, default=3, help="a round")
    parser.add_argument("--samples", type=Path, help="file of what is done")
    chosen = parser.parse_args(arguments)
    together = chosen.rounds * chosen.candidates
    rows = {
        "greedy": "plain",
        f"best of {together}": f"iad.rounds=1 iad.candidates={together}",
        f"iad, {chosen.rounds} x {chosen.candidates}": (
            f"iad.rounds={chosen.rounds} iad.candidates={chosen.candidates}"
        ),
    }
    done = _kept(chosen.samples, list(rows))
    asked = list(islice(with_examples(read_tasks(chosen.task)), chosen.n))
    made = plan(Choice(model=chosen.model, strategy="plain"))
    with open_session(made, OpenOptions(threads=chosen.threads)) as greedy:
        sessions = {name: _session(greedy, chosen.model, words) for name, words in rows.items()}
        for task, verify in asked:
            if task.index in done:
                continue
            question = Question(
                task.prompt,
                max_tokens=chosen.max_tokens,
                signals=False,
                verify=verify,
                sampler=Sampler(seed=task.index),
            )
            found: dict[str, Any] = {"index": task.index}
            for name, session in sessions.items():
                text, summary = session.reply(question)
                right = task.judge(text, allow_exec=True)
                found[name] = [bool(right), verify(text).score or 0.0, summary["large_fed"]]
            done[task.index] = found
            if chosen.samples is not None:
                with whole_file(chosen.samples) as out:
                    out.writelines(json.dumps(one) + "\n" for one in done.values())
    print(table(list(rows), [done[task.index] for task, _ in asked]))


def with_examples(tasks: Iterator[Task]) -> Iterator[tuple[Task, Examples]]:
    """The tasks that show examples with literal results, each with its verifier."""
    for task in tasks:
        source = code_of(task.prompt)
        tests = []
        for call, wanted in _shown(source):
            try:
                ast.parse(call, mode="eval")
                tests.append(f"({call}) == ({ast.literal_eval(wanted)!r})")
            except (SyntaxError, ValueError):
                continue
        if tests:
            yield task, Examples(CodeVerifier(tuple(tests[:20])), source.split("def ")[0])


def _shown(source: str) -> Iterator[tuple[str, str]]:
    """Calls and results in all docstrings; none where the source cannot be parsed."""
    parser = doctest.DocTestParser()
    try:
        functions = [one for one in ast.walk(ast.parse(source)) if isinstance(one, ast.FunctionDef)]
        for function in functions:
            words = ast.get_docstring(function) or ""
            for example in parser.get_examples(words):
                yield example.source.strip(), example.want.strip()
            for line in words.splitlines():
                found = _EQUATION.match(line)
                if found and found[1].startswith(f"{function.name}("):
                    yield found[1], found[2]
    except (SyntaxError, ValueError):
        return


class Examples:
    """Scores a reply by the share of the visible examples that it passes."""

    def __init__(self, verifier: CodeVerifier, preamble: str) -> None:
        """`preamble`: what stands before the function in the prompt, such as imports."""
        self._verifier = verifier
        self._preamble = preamble

    def __call__(self, text: str) -> Rating:
        return self._verifier(f"```python\n{self._preamble}{code_of(text)}\n```")


def table(names: Sequence[str], done: Sequence[dict[str, Any]]) -> str:
    """A row each: problems right, the gain over the first row, what was fed for it."""
    cells = []
    first = names[0]
    fed = max(1, sum(one[first][2] for one in done))
    for name in names:
        right = sum(one[name][0] for one in done)
        won = sum(one[name][0] and not one[first][0] for one in done)
        lost = sum(one[first][0] and not one[name][0] for one in done)
        gain = Gain(won, lost, len(done))
        cells.append(
            [
                name,
                f"{right} of {len(done)}",
                "" if name == first else f"{points(gain)} {won}:{lost}",
                str(sum(one[name][1] >= 1 for one in done)),
                f"{sum(one[name][2] for one in done) / fed:.2f}x",
            ]
        )
    heads = ["", "right", "gain, won : lost", "passes what is visible", "tokens fed"]
    return table_of(heads, cells)


def _session(greedy: Session, model: str, words: str) -> Session:
    if words == "plain":
        return greedy
    made = plan(Choice(model=model, strategy="iad", assignments=tuple(words.split())))
    return Session(made, greedy.engines, 0.0)


def _kept(samples: Path | None, names: Sequence[str]) -> dict[int, dict[str, Any]]:
    """What a file of samples holds of the same rows, by problem."""
    if samples is None or not samples.exists():
        return {}
    lines = [json.loads(line) for line in samples.read_text().splitlines()]
    return {one["index"]: one for one in lines if all(name in one for name in names)}


if __name__ == "__main__":
    leave(exit_code_of(main))

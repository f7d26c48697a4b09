"""Records of a real pair for `scale.py`: where the small model agrees, and how sure it is.

    python -m tools.many_users.scale_records --small small.gguf --large large.gguf \
        --task humaneval.jsonl --task spec-bench.jsonl -n 12 --out docs/results/scale-records.jsonl

The large model answers each prompt greedily; then both read the answer, and every position is
written down: whether the small model's likeliest token is the large one's, and the small model's
entropy in nats. No text and no token of a prompt is in the file.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from adec.answering.choice import Choice
from adec.answering.plan import plan
from adec.answering.prompt import encode_prompt
from adec.answering.session import Question, open_session
from adec.benchmark.tasks.task import Task
from adec.benchmark.tasks.task_sources import find_source
from adec.calibration.replay.recording import record
from adec.cli.failures import exit_code_of, leave
from adec.engines.base import OpenOptions
from adec.events.records import Step
from tools.script import arguments_of


def main(arguments: Sequence[str] | None = None) -> None:
    """Answer, read, write a line a prompt."""
    parser = arguments_of(__doc__)
    parser.add_argument("--small", required=True, metavar="FILE")
    parser.add_argument("--large", required=True, metavar="FILE")
    parser.add_argument("--task", action="append", required=True, metavar="FILE")
    parser.add_argument("-n", type=int, default=12, help="prompts of each task (12)")
    parser.add_argument("--max-tokens", type=int, default=96, help="tokens of an answer (96)")
    parser.add_argument("--threads", type=int, help="threads of a forward")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE")
    chosen = parser.parse_args(arguments)
    ready = plan(Choice(small=chosen.small, large=chosen.large, strategy="plain"))
    options = OpenOptions(context=2048, threads=chosen.threads)
    with open_session(ready, options) as session, chosen.out.open("w", encoding="utf-8") as out:
        for task in spread_out(chosen.task, chosen.n):
            prompt, _ = encode_prompt(session.engines["large"], task.prompt)
            if len(prompt) + chosen.max_tokens > 2048:
                continue
            question = Question(task.prompt, max_tokens=chosen.max_tokens, signals=False)
            steps = (e for e in session.answer(question) if isinstance(e, Step))
            answer = [token.id for step in steps for token in step.tokens]
            found = record(session.engines, prompt, answer)
            line = {
                "group": task.group,
                "prompt_tokens": len(prompt),
                "agrees": "".join("1" if same else "0" for same in found.agrees),
                "small_entropy": [round(nats, 3) for nats in found.small_entropy],
            }
            out.write(json.dumps(line) + "\n")
            out.flush()


def spread_out(words: Sequence[str], count: int) -> Iterator[Task]:
    """`count` tasks of each file, evenly spaced over it."""
    for word in words:
        source = find_source([word], None, 0)
        step = max(1, source.count // count)
        picked = [task for task in source.begin() if task.index % step == 0]
        yield from picked[:count]


if __name__ == "__main__":
    leave(exit_code_of(main))

"""The shipped canvas model: both formats, one model."""

from __future__ import annotations

from contextlib import closing
from itertools import islice

import numpy as np
import pytest

from adec.decoding.registry import find_method
from adec.decoding.strategy import Aids, Limits, Prompt
from adec.engines.base import OpenOptions
from adec.engines.canvas_model import CanvasModel
from adec.engines.opening import open_engine, read_header
from adec.engines.pair import Engines
from adec.practice import canvas_folder, canvas_gguf
from adec.practice.tasks import problems

pytestmark = pytest.mark.skipif(not canvas_gguf().exists(), reason="no trained models here")


def test_both_formats_write_the_same_tokens() -> None:
    pytest.importorskip("torch")
    pytest.importorskip("llama_cpp")
    method = find_method("steps")
    answers: list[list[list[int]]] = []
    rows = []
    for path in (canvas_folder(), canvas_gguf()):
        options = OpenOptions(context=256, threads=1)
        with closing(open_engine(read_header(path), options)) as engine:
            assert isinstance(engine, CanvasModel)
            made = method.settings(canvas=32)
            strategy = method.build(Engines(large=engine), made, Aids())
            written = []
            for problem in islice(problems("test", 5, ["lists"]), 3):
                ids = (1, *engine.tokenizer.encode(problem.prompt, special=False), 2)
                steps = strategy.generate(Prompt(ids), Limits(32, engine.vocabulary.end))
                written.append([token.id for step in steps for token in step.tokens])
            answers.append(written)
            scores = engine.canvas_scores([*ids, *[engine.mask] * 20])
            rows.append(np.stack([scores.row(i) for i in range(len(scores))]))
    assert answers[0] == answers[1]
    assert all(answer[-1] == 3 for answer in answers[0])
    without_mask = [np.delete(scores, 1280, axis=1) for scores in rows]  # it is never proposed
    assert np.abs(without_mask[0] - without_mask[1]).max() < 0.2

"""Rounds of whole answers: what is compared, when it ends, and that nothing better is ever lost."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adec.answering.text import text_of
from adec.decoding.plain import Plain
from adec.decoding.search.iad import Iad, IadSettings, with_feedback
from adec.decoding.strategy import Aids, Exchange, Limits
from adec.engines.pair import Engines
from adec.engines.table import TableEngine
from adec.errors import AdecError, UsageError
from adec.events.records import Attempt, Guarantee, Step
from adec.judging.verifiers import Rating
from adec.sampling import Sampler
from tests.laws import law, pair, prompt_of

END = frozenset({5})
PROMPT = [0, 1, 2]


def limits(tokens: int = 12, sampler: Sampler | None = None) -> Limits:
    return Limits(tokens, END, sampler or Sampler())


def exchange(on: TableEngine, verify, *, asked: list[str] | None = None, **more) -> Exchange:
    """The question "abc"; a prompt with feedback has a token for each of its letters a to e."""

    def encode(text: str) -> list[int]:
        if asked is not None:
            asked.append(text)
        return [ord(letter) - ord("a") for letter in text if letter in "abcde"]

    return Exchange("abc", encode, lambda ids: text_of(on.vocabulary, ids), verify, **more)


def with_texts(on: TableEngine, chosen: IadSettings, texts: Exchange) -> Iad:
    return Iad(Engines(large=on), chosen, Aids(exchange=lambda: texts))


def run(
    chosen: IadSettings,
    verify,
    *,
    seed: int = 1,
    bounds: Limits | None = None,
    interrupted=lambda: False,
    **more,
):
    on = TableEngine(law(6, seed, sharpness=1.0), size=6)
    steps = list(
        with_texts(on, chosen, exchange(on, verify, **more)).generate(
            prompt_of(PROMPT), replace(bounds or limits(), interrupted=interrupted)
        )
    )
    return steps, on


def attempts_of(steps: list[Step]) -> list[Attempt]:
    return [step.detail for step in steps if isinstance(step.detail, Attempt)]


def committed(steps: list[Step]) -> tuple[int, ...]:
    return tuple(token.id for step in steps for token in step.tokens)


def lengths(text: str) -> Rating:
    return Rating(len(text) / 100)


def test_best_of_n() -> None:
    steps, on = run(IadSettings(rounds=1, candidates=6), lengths)
    tried = attempts_of(steps)
    assert len(tried) == 6 and len({attempt.tokens for attempt in tried}) > 2
    greedy = Plain(TableEngine(law(6, 1, sharpness=1.0), size=6)).generate(
        prompt_of(PROMPT), limits()
    )
    assert tried[0].tokens == committed(list(greedy))
    best = max(tried, key=lambda attempt: attempt.score)
    assert committed(steps) == best.tokens and [s.kind for s in steps][-1] == "write"
    assert all(attempt.score == len(attempt.text) / 100 for attempt in tried)
    assert on.fed.count(PROMPT) == 1  # the prompt is read once a round
    fed = sum(step.fed("large") for step in steps)
    assert fed == sum(len(attempt.tokens) - 1 for attempt in tried)


scores = st.dictionaries(
    st.integers(0, 40), st.none() | st.floats(-2, 2, allow_nan=False), max_size=40
)


@settings(max_examples=120, deadline=None)
@given(
    st.builds(
        IadSettings,
        rounds=st.integers(1, 4),
        candidates=st.integers(1, 4),
        full=st.sampled_from([0.5, 1.0, math.inf]),
        budget=st.none() | st.integers(1, 60),
        model=st.just("large"),
    ),
    st.integers(0, 30),
    scores,
    st.sampled_from([0.0, 0.9]),
)
def test_the_best_is_never_lost(chosen, seed, given_scores, temperature) -> None:
    """Whatever a verifier says: the committed answer is the first of the greatest score, and the
    stops are kept.
    """
    said = count()

    def verify(text: str) -> Rating:
        return Rating(given_scores.get(next(said), 0.25))

    bounds = limits(sampler=Sampler(temperature, seed=seed))
    try:
        steps, _ = run(chosen, verify, seed=seed, bounds=bounds)
    except AdecError as error:
        assert "no answer could be scored" in error.message
        return
    tried = attempts_of(steps)
    marked = [attempt.score for attempt in tried if attempt.best]
    assert marked == sorted(marked)
    greatest = max(attempt.score for attempt in tried if attempt.score is not None)
    first = next(attempt for attempt in tried if attempt.score == greatest)
    assert committed(steps) == first.tokens and marked[-1] == greatest
    assert [attempt.round for attempt in tried] == sorted(attempt.round for attempt in tried)
    earlier = tried[:-1]
    assert all(attempt.score is None or attempt.score < chosen.full for attempt in earlier)
    if chosen.budget is not None:
        assert sum(len(attempt.tokens) for attempt in earlier) < chosen.budget
    full = greatest >= chosen.full
    spent = chosen.budget is not None and (
        sum(len(attempt.tokens) for attempt in tried) >= chosen.budget
    )
    if not (full or spent):
        assert len(tried) == chosen.rounds * chosen.candidates
    again, _ = run(chosen, verify_from(given_scores), seed=seed, bounds=bounds)
    assert committed(again) == committed(steps)


def verify_from(given_scores):
    said = count()
    return lambda text: Rating(given_scores.get(next(said), 0.25))


def test_the_large_models_likelihood_by_hand() -> None:
    for writer in ("large", "small"):
        small, large = pair(3)
        chosen = IadSettings(rounds=2, candidates=3, model=writer)
        steps = list(
            Iad(Engines(large=large, small=small), chosen, Aids()).generate(
                prompt_of(PROMPT), limits(6)
            )
        )
        tried = attempts_of(steps)
        assert len(tried) == 6
        for attempt in tried:
            path, total = list(PROMPT), 0.0
            for token in attempt.tokens:
                total += math.log(large._law(tuple(path))[token])
                path.append(token)
            assert attempt.score == pytest.approx(total / len(attempt.tokens), abs=1e-4)
        assert committed(steps) == max(tried, key=lambda attempt: attempt.score).tokens
        assert {token.source for step in steps for token in step.tokens} == {writer}
        judged = [f for step in steps for f in step.forwards if f.purpose == "verify"]
        if writer == "large":
            assert not judged  # it knows from the writing
            continue
        assert [f.model for f in judged] == ["large"] * 6
        # without feedback every round has one prompt, and the judge reads it once
        read = [f.tokens - len(a.tokens) for f, a in zip(judged, tried, strict=True)]
        assert read == [len(PROMPT) - 1, *[0] * 5]


@pytest.mark.parametrize("share", [0.4, 1.0, 1.3, 2.5, 6.0])
def test_a_budget_is_spent_on_average_and_no_more(share: float) -> None:
    """400 questions (seeds), each with `share` times what its greedy answer is fed.

    Of what follows the first answer, tokens fed are a sum of independent bounded parts with the
    budget as mean, if no answer's length tells of the next one's; six standard errors are allowed:
    a false alarm in 10 ** 8 runs.
    """
    on = TableEngine(law(6, 1, sharpness=1.0), size=6)
    nothing = Limits(
        6, frozenset(), Sampler()
    )  # without an end every answer has six tokens and is fed five
    given, fed = round(5 * share), []
    for seed in range(400):
        texts = Exchange("", lambda _: PROMPT, lambda _: "", budget=given)
        chosen = IadSettings(rounds=1, candidates=1000)
        bounds = replace(nothing, sampler=Sampler(seed=seed))
        steps = list(with_texts(on, chosen, texts).generate(prompt_of(PROMPT), bounds))
        fed.append(sum(step.fed("large") for step in steps))
    wanted = max(5, given)  # the greedy answer is written whatever the budget
    assert {amount for amount in fed if not wanted - 5 < amount < wanted + 5} == set()
    assert abs(sum(fed) / 400 - wanted) <= 6 * 2.5 / 20


def test_a_later_round_sees_best_and_worst() -> None:
    asked: list[str] = []

    def verify(text: str) -> Rating:
        return Rating(len(text) / 100, f"has {len(text)}")

    steps, on = run(IadSettings(rounds=2, candidates=4), verify, asked=asked)
    tried = attempts_of(steps)[:4]
    best, worst = max(tried, key=lambda a: a.score), min(tried, key=lambda a: a.score)
    (question,) = asked
    for attempt, name in ((best, "The best"), (worst, "The worst")):
        assert (
            f"{name} (score {attempt.score:.4g}):\n{attempt.text}\n{attempt.feedback}" in question
        )
    assert question.startswith("abc\n")
    encoded = [ord(letter) - ord("a") for letter in question if letter in "abcde"]
    assert [t for fed in on.fed for t in fed if len(fed) > 1] == PROMPT + encoded


@pytest.mark.parametrize(("both", "one", "read"), [(58, 40, 58), (59, 40, 40), (80, 70, 3)])
def test_feedback_that_leaves_no_room_is_left_out(both: int, one: int, read: int) -> None:
    """Of 90 tokens 32 are the answer's; first the worst answer goes, then the best."""
    on = TableEngine(law(6, 1, sharpness=1.0), size=6, context=90)

    def encode(text: str) -> list[int]:
        return [4] * (both if "The worst" in text else one)

    texts = Exchange("abc", encode, lambda ids: text_of(on.vocabulary, ids), lengths)
    steps = list(
        with_texts(on, IadSettings(rounds=2, candidates=2), texts).generate(
            prompt_of(PROMPT), limits()
        )
    )
    assert len({attempt.score for attempt in attempts_of(steps)[:2]}) == 2
    assert [sum(f.tokens for f in s.forwards) for s in steps if s.kind == "prompt"] == [3, read]


def test_with_feedback_of_one() -> None:
    text = with_feedback("Why?", [("So.", Rating(0.5))])
    assert text.splitlines()[:4] == ["Why?", "", "An earlier answer (score 0.5):", "So."]
    assert "worst" not in text


def test_the_same_answer_is_verified_once() -> None:
    seen: list[str] = []

    def verify(text: str) -> Rating:
        seen.append(text)
        return Rating(0.0)

    steps, _ = run(IadSettings(rounds=2, candidates=5, temperature=0.1), verify, bounds=limits(1))
    tried = [attempt.tokens for attempt in attempts_of(steps)]
    assert len(tried) == 10 and len(seen) == len(set(tried)) < 10


def test_no_score_at_all_is_an_error_that_says_why() -> None:
    with pytest.raises(AdecError, match="no answer could be scored: it is Monday"):
        run(IadSettings(rounds=1, candidates=2), lambda text: Rating(None, "it is Monday"))


def test_an_interruption_ends_with_the_best_so_far() -> None:
    asked = count()
    steps, _ = run(
        IadSettings(rounds=3, candidates=4), lengths, interrupted=lambda: next(asked) > 30
    )
    tried = attempts_of(steps)
    assert 1 < len(tried) < 12 and tried[-1].score is None
    assert committed(steps) == max(tried[:-1], key=lambda attempt: attempt.score).tokens
    steps, _ = run(IadSettings(), lengths, interrupted=lambda: True)
    assert len(committed(steps)) == 1 and not attempts_of(steps)[0].best


def test_names_and_promises() -> None:
    small, large = pair()
    assert Iad(Engines(large=large), IadSettings(), Aids()).guarantee is Guarantee.APPROXIMATE
    with pytest.raises(UsageError, match="needs a pair"):
        Iad(Engines(large=large), IadSettings(model="small"), Aids())
    Iad(Engines(large=large, small=small), IadSettings(model="small"), Aids())

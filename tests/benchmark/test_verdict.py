"""What is said about a row, and about the whole bench, from figures made by hand."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from adec.benchmark.bench_report import BenchReport, make_rows
from adec.benchmark.caveats import caveats
from adec.benchmark.columns import legend_of, tables_of
from adec.benchmark.samples import BenchAnswer, PromptResult, RowHeader
from adec.benchmark.text_report import quality_plot
from adec.benchmark.totals import Totals
from adec.benchmark.verdict import with_verdicts


def answer(row: str, seconds: float, right: bool | None = True, **parts: object) -> BenchAnswer:
    base = BenchAnswer(
        row, 0, seconds, 100, "x", guarantee="exact", first_seconds=seconds / 100,
        forward_ms=950 * seconds, draft_ms=0.0, large_forwards=99, large_fed=99, large_tokens=100,
        fed_work=100, prompt_fed_work=10,
        right=right, same=True, leading=100,
    )  # fmt: skip
    return replace(base, **parts)


def report_of(
    *per_prompt: list[BenchAnswer], kinds: dict[str, str] | None = None
) -> tuple[BenchReport, Totals]:
    names = [a.row for a in per_prompt[0]]
    rows = [RowHeader(n, (kinds or {}).get(n, "strategy")) for n in names]  # type: ignore[arg-type]
    totals = Totals(rows, 0)
    for index, answers in enumerate(per_prompt):
        totals.add(PromptResult(index, "g", "", tuple(answers)))
    report = BenchReport({}, make_rows(totals, 0), totals.prompts, totals.prompts, totals.kept)
    return with_verdicts(report, totals), totals


def verdict(*rows_of: object, count: int = 40, **options: object) -> str:
    """Of the second row; `rows_of` gives the answers of a prompt by its index."""
    (make,) = rows_of
    report, _ = report_of(*[make(i) for i in range(count)], **options)  # type: ignore[operator]
    return report.rows[1].verdict


def wobble(i: int) -> float:
    return 1 + (i * 37 % 11) / 200


def test_an_exact_row_that_is_faster() -> None:
    said = verdict(lambda i: [answer("plain", wobble(i)), answer("s", 0.5 * wobble(i + 3))])
    assert said.startswith(("worth it: 1.9", "worth it: 2.0"))
    assert said.endswith("the same tokens.")


def test_hardly_worth_it() -> None:
    said = verdict(lambda i: [answer("plain", 1.0), answer("s", 0.98)])
    assert said.startswith("hardly worth it here: 1.02 times")


def test_no_clear_difference() -> None:
    said = verdict(lambda i: [answer("plain", 1.0), answer("s", 0.8 if i % 2 else 1.2)])
    assert said.startswith("no clear difference in speed")


def test_a_slower_one_says_what_would_change_it() -> None:
    """1.5 times plain's time, half of it drafts: break-even when a draft costs a third, or 3 tokens
    a forward for 2.
    """
    said = verdict(
        lambda i: [answer("plain", 1.0), answer("s", 1.5, large_forwards=50, draft_ms=750.0)]
    )
    assert said.startswith("not worth it here: 33 % slower than plain (0.67 to 0.67).")
    assert "at 3.0 tokens per forward of the large model instead of 2.0" in said
    assert "if a draft cost 33 % of what it does" in said


def test_a_free_draft_that_would_not_help() -> None:
    said = verdict(lambda i: [answer("plain", 1.0), answer("s", 2.0, draft_ms=100.0)])
    assert "even a draft that costs nothing would not make it pay" in said.lower()


def test_overhead_is_named() -> None:
    said = verdict(lambda i: [answer("plain", 1.0), answer("s", 2.0, forward_ms=500.0)])
    assert "75 % of its time is not spent in a model" in said


@pytest.mark.parametrize(
    ("count", "wrong", "begins"),
    [
        (40, 20, "2.00 times as fast as plain (2.00 to 2.00), but 20 of 40 lost"),
        (20, 3, "fast but unproven: "),
        (20, 0, "fast but unproven: "),
        (400, 0, "worth it: "),
    ],
)
def test_an_approximate_row(count: int, wrong: int, begins: str) -> None:
    said = verdict(
        lambda i: [
            answer("plain", 1.0),
            answer("s", 0.5, right=i >= wrong, guarantee="approximate", same=i >= wrong),
        ],
        count=count,
    )
    assert said.startswith(begins)
    if count == 400:
        assert "a loss above 1.0 % is ruled out" in said


def test_an_exact_rival_is_named() -> None:
    said = verdict(
        lambda i: [
            answer("plain", 1.0),
            answer("s", 0.5, guarantee="approximate"),
            answer("exact one", 0.5),
        ]
    )  # fmt: skip
    assert "exact one is as fast and exact: take that" in said


def test_without_answers_quality_is_agreement() -> None:
    said = verdict(
        lambda i: [
            answer("plain", 1.0, None),
            answer("s", 0.5, None, guarantee="approximate", same=i > 9),
        ]
    )  # fmt: skip
    assert "other tokens than plain in 10 of 40 answers" in said


def test_peers() -> None:
    def faster(i: int) -> list[BenchAnswer]:
        return [
            answer("plain", 1.0),
            answer("p", 0.5, guarantee="", forward_ms=None),
            answer("s", 0.8),
        ]

    said = verdict(faster, kinds={"p": "peer"})
    assert said == (
        "2.00 times as fast as plain (2.00 to 2.00), the same tokens; faster than s, adec's best "
        "exact one here."
    )


def test_failures_and_few_prompts() -> None:
    assert "too few prompts" in verdict(lambda i: [answer("plain", 1.0), answer("s", 0.5)], count=3)
    said = verdict(lambda i: [answer("plain", 1.0), answer("s", 0.0, error="out of memory")])
    assert said == "no answer: out of memory."


def told(*per_prompt: list[BenchAnswer], **options: object) -> str:
    report, totals = report_of(*per_prompt)
    return "\n".join(caveats(totals, report.rows, **options))  # type: ignore[arg-type]


def test_remarks_name_what_went_wrong() -> None:
    calm = [[answer("plain", wobble(i))] for i in range(30)]
    assert told(*calm) == ""
    slow = list(calm)
    slow[17] = [answer("plain", 40.0)]
    assert "1 prompt took up to" in told(*slow)
    first = [[answer("plain", 40.0)], *calm[1:]]
    assert "the first answer of plain" in told(*first)
    drift = [*calm[:15], *[[answer("plain", 1.5 * wobble(i))] for i in range(15)]]
    assert "slower a token in the last third" in told(*drift)
    cut = [[answer("plain", wobble(i), finish="length")] for i in range(30)]
    assert "cut off at --max-tokens in 30 of 30" in told(*cut)
    assert "failed on 1 answer" in told(*calm, [answer("plain", 0.0, error="too long")])
    assert "busy before" in told(*calm, load_before=1.7)
    assert "--allow-exec" in told(*calm, unjudged=3)


def test_the_plot_puts_fast_left_and_good_up() -> None:
    report, _ = report_of(
        *[
            [answer("plain", 1.0), answer("cheap", 0.25, right=i > 15), answer("slow", 2.0)]
            for i in range(20)
        ]
    )
    plot = quality_plot(report)
    assert plot is not None
    assert {p.label: p.front for p in plot.points} == {"plain": True, "cheap": True, "slow": False}
    lines = plot.text(80, unicode=False)
    grid = [line for line in lines if "|" in line]
    place = {
        c: (y, line.index(c, 9)) for y, line in enumerate(grid) for c in "pcs" if c in line[9:]
    }
    (yp, xp), (yc, xc), (ys, xs) = (place[c] for c in "pcs")
    assert xc < xp < xs and yp == ys < yc


def test_a_few_prompts_show_what_they_can_tell() -> None:
    report, totals = report_of(
        *[[answer("plain", 1.0), answer("s", 0.5, right=i > 0)] for i in range(3)]
    )
    (table,) = tables_of(report)
    names = [column.name for column in table]
    assert names == ["tok/s", "speedup", "tok/forward", "right", "same"]
    assert table[3].cell(report.rows[1]) == "2 of 3"
    assert quality_plot(report) is None
    legend = legend_of(report)
    assert all(f"{name}: " in legend for name in names)
    assert "peak MB" not in legend and "gain in points" not in legend
    assert "too few prompts" in report.rows[1].verdict and caveats(totals, report.rows) == []


@pytest.mark.parametrize("count", [3, 20])
def test_a_legend_explains_what_is_shown_and_nothing_else(count: int) -> None:
    """A peer that tells little leaves columns empty: these are neither shown nor explained."""
    unknown = {"large_fed": None, "large_tokens": None, "forward_ms": None, "right": None}
    report, _ = report_of(
        *[[answer("plain", 1.0, **unknown), answer("s", 1.0, **unknown)] for _ in range(count)]
    )
    shown = {column.name for table in tables_of(report) for column in table}
    assert {"tok/s", "speedup", "same"} <= shown and not shown & {"right", "wrote", "read", "won"}
    legend = legend_of(report)
    assert all(f"{name}: " in legend for name in shown)
    assert not any(
        f"{name}: " in legend for name in ("right", "wrote", "read", "won", "gain in points")
    )


def test_equally_good_rows_need_no_chart() -> None:
    report, _ = report_of(*[[answer("plain", 1.0), answer("s", 0.5)] for _ in range(20)])
    assert quality_plot(report) is None


def test_more_tokens_a_second_and_a_speedup_below_one_are_explained() -> None:
    """The middle prompts of two rows are different ones: three prompts of a bench did this."""
    seconds = [(1.0, 1.05), (2.0, 1.9), (3.0, 3.2)]
    said = told(*[[answer("plain", p), answer("lookup", s)] for p, s in seconds])
    assert "lookup: tok/s and speedup lie on different sides of plain" in said
    alike = told(*[[answer("plain", p), answer("lookup", 0.9 * p)] for p, _ in seconds])
    assert "different sides" not in alike


def test_a_plot_needs_two_rows() -> None:
    report, _ = report_of(*[[answer("plain", 1.0)] for _ in range(5)])
    assert quality_plot(report) is None

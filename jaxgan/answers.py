"""A study's answer: each arm's score over seeds, against the base, and where it ranks."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from jaxgan import statistics
from jaxgan.results import Results

FAILED = 4  # the place of that column


class Answer(NamedTuple):
    """Of one arm and one score.

    Attributes:
      arm: its name.
      summary: over its seeds; None where all failed.
      count, failed: seeds that have a score, and that don't.
      apart: from the base, seed by seed; None of the base and where no seed is common.
      rank: among all; None of an arm that is alone or has no score.
    """

    arm: str
    summary: statistics.Summary | None
    count: int
    failed: int
    apart: statistics.Difference | None
    rank: statistics.Rank | None


def answers(found: Mapping[str, Mapping[int, float]], base: str, higher: bool) -> list[Answer]:
    """All arms, the best mean first and those without any score last.

    Args:
      found: arm -> seed -> score; what isn't finite is a failure, counted and left out.
      base: the arm that others are compared with.
      higher: whether a higher score is better.
    """
    good = {
        arm: {seed: value for seed, value in of.items() if math.isfinite(value)}
        for arm, of in found.items()
    }
    pairs = {}
    for arm, of in good.items():
        both = [seed for seed in of if seed in good[base]]
        if arm != base and both:
            pairs[arm] = tuple([side[seed] for seed in both] for side in (of, good[base]))
    apart = statistics.differences(pairs)
    ranks = statistics.ranking(good, higher)
    rows = [
        Answer(
            arm,
            statistics.summary(list(of.values())) if of else None,
            len(of),
            len(found[arm]) - len(of),
            apart.get(arm),
            ranks.get(arm),
        )
        for arm, of in good.items()
    ]

    def place(row: Answer):
        mean = row.summary.mean if row.summary else math.inf
        return row.summary is None, -mean if higher and row.summary else mean

    return sorted(rows, key=place)


def interval(found: statistics.Summary, signed: bool = False) -> str:
    """12.35 (12.11 to 12.58): the mean, to two digits of its uncertainty."""
    half = (found.high - found.low) / 2
    mean = statistics.rounded(found.mean, half)
    if signed and found.mean >= 0:
        mean = f"+{mean}"
    if not math.isfinite(half):
        return mean
    low, high = (statistics.rounded(x, half) for x in (found.low, found.high))
    return f"{mean} ({low} to {high})"


def deviation(found: statistics.Summary) -> str:
    """To two digits; "" of one seed."""
    return (
        "" if math.isnan(found.deviation) else statistics.rounded(found.deviation, found.deviation)
    )


def tested(row: Answer) -> str:
    """p, or why there is none; "" of the base."""
    if row.apart is None:
        return ""
    needed, count = row.apart.needed, row.apart.summary.count
    would = f"about {needed}" if needed < 1000 else "far more"
    if not math.isnan(row.apart.p):
        return f"{row.apart.p:.3g}" + (f"; {would} seeds would tell" if needed else "")
    if count == 1:
        return "1 seed can't tell"
    return f"{count} seeds can't tell; {would} would"


def ranked(row: Answer) -> str:
    """2 to 5."""
    if row.rank is None:
        return ""
    low, high = row.rank
    return f"{low}" if low == high else f"{low} to {high}"


def cells(row: Answer, base: str) -> list[str]:
    """A row of the table, as `headings` calls them."""
    there = row.summary is not None
    against = "the base" if row.arm == base else "-"
    return [
        row.arm,
        interval(row.summary) if there else "-",
        deviation(row.summary) if there else "-",
        str(row.count),
        str(row.failed),
        interval(row.apart.summary, signed=True) if row.apart else against,
        tested(row),
        ranked(row),
    ]


def table(found: Results, score: str) -> list[list[str]]:
    """Headings and rows of one score; runs that are under way are no failures yet."""
    rows = [headings(score, found.higher[score], found.base)]
    for row in answers(found.values(score), found.base, found.higher[score]):
        shown = cells(row, found.base)
        open_ = sum(one.arm == row.arm and one.unfinished for one in found.trained)
        if open_:
            shown[FAILED] = f"{row.failed - open_}, and {open_} not finished"
        rows.append(shown)
    return rows


def headings(score: str, higher: bool, base: str) -> list[str]:
    """Of the table's columns."""
    return [
        "arm",
        f"{score} ({'higher' if higher else 'lower'} is better), 95 % over seeds",
        "deviation",
        "n",
        "failed",
        f"against {base!r}, seed by seed",
        "p (sign flips, Holm)",
        "rank, 95 %",
    ]

"""Statistics over training seeds, against SciPy and by what they promise: errors at their level."""

import math

import numpy as np
import pytest
from scipy import stats

from jaxgan import statistics


def draws(n, *, seed=0, mean=0.0):
    return np.random.default_rng(seed).normal(mean, 1.0, n)


@pytest.mark.parametrize("n", [2, 5, 19])
def test_few_seeds_have_students_interval(n):
    x = draws(n)
    found = statistics.summary(x)
    low, high = stats.t.interval(0.95, n - 1, np.mean(x), stats.sem(x))
    assert found == pytest.approx((np.mean(x), np.std(x, ddof=1), low, high, n))


def test_many_seeds_are_bootstrapped():
    x = np.random.default_rng(0).exponential(size=40)
    found = statistics.summary(x)
    assert found == statistics.summary(x)
    low, high = stats.t.interval(0.95, 39, np.mean(x), stats.sem(x))
    assert found.high - found.mean > found.mean - found.low, "as skewed as the values"
    assert found.high - found.low == pytest.approx(high - low, rel=0.15)


def test_one_seed_says_nothing_of_others():
    found = statistics.summary([3.0])
    assert (found.mean, found.low, found.high, found.count) == (3.0, -math.inf, math.inf, 1)
    assert math.isnan(found.deviation)


@pytest.mark.parametrize("n", [2, 3, 6, 9])
def test_all_flips_are_those_of_scipy(n):
    x = draws(n, seed=n, mean=0.7)
    wanted = stats.permutation_test(
        (x,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    )
    assert statistics.sign_flips(x) == pytest.approx(wanted.pvalue, abs=1e-12)


def test_drawn_flips_are_near_all():
    x = draws(statistics.EXACT + 2, mean=0.55)
    wanted = stats.permutation_test(
        (x,), np.mean, permutation_type="samples", n_resamples=2**16, vectorized=True
    ).pvalue
    assert statistics.sign_flips(x) == pytest.approx(wanted, abs=0.005)
    assert statistics.sign_flips(x, seed=1) != statistics.sign_flips(x)


def one(ours, base):
    """The only arm against the base."""
    return statistics.differences({"it": (ours, base)})["it"]


def test_few_pairs_cannot_tell():
    assert [statistics.least_p(n) for n in (1, 3, 5, 6)] == [1.0, 0.25, 0.0625, 0.03125]
    for n in (1, 3, 5):
        found = one(draws(n) + 100, draws(n, seed=1))
        assert math.isnan(found.p)
        assert found.needed >= 6
    found = one(draws(6) + 100, draws(6, seed=1))
    assert found.p == 0.03125
    assert found.needed == 0


def test_more_arms_need_more_pairs():
    """6 pairs tell one arm from the base; of five arms none, since 5 times 2/64 isn't small."""
    arms = {f"arm {i}": (draws(6, seed=i) + 100, draws(6, seed=9)) for i in range(5)}
    found = statistics.differences(arms)
    assert all(math.isnan(apart.p) for apart in found.values())
    assert {apart.needed for apart in found.values()} == {8}
    eight = statistics.differences({arm: (draws(8) + 100, draws(8, seed=9)) for arm in arms})
    assert {apart.p for apart in eight.values()} == {5 * 2 / 2**8}
    assert {apart.needed for apart in eight.values()} == {0}


def test_what_the_correction_hides_is_not_told():
    """Of 8 pairs 4 flips of 256 go as far: 0.0156, which is small, and not so for one of six."""
    x = np.array([1, 1, 1, 1, 1, 1, 1, -0.01])
    assert one(x, 0 * x)[1:] == (4 / 256, 0)
    found = statistics.differences({str(i): (x, 0 * x) for i in range(6)})["0"]
    assert found.p == 6 * 4 / 256
    assert found.needed > 8


def test_arms_of_which_some_lost_a_seed():
    """Each p is corrected for both: the least of 7 pairs is 1/64, of 6 1/32, and Holm's 1/32."""
    ours, base = draws(7) + 100, draws(7, seed=9)
    found = statistics.differences({"all": (ours, base), "lost": (ours[:6], base[:6])})
    assert [apart.p for apart in found.values()] == [1 / 32, 1 / 32]
    five = {str(i): (ours, base) for i in range(4)} | {"more": (draws(8) + 100, draws(8, seed=9))}
    found = statistics.differences(five)
    assert found["more"].p == 5 / 128
    assert all(math.isnan(found[str(i)].p) for i in range(4))


def test_pairs_that_would_be_needed():
    """As tables of power say: 11 pairs find a difference of 0.95 deviations four times of five."""
    x = np.array([-1.0, 0, 1])
    assert statistics.pairs_needed(x + 0.95) == 11
    assert statistics.pairs_needed(x + 0.5) == 34
    assert statistics.pairs_needed(x + 5) == 6
    assert statistics.pairs_needed(x + 5, tests=5) == 8
    assert statistics.pairs_needed(x + 0.5, tests=5) > 45
    assert statistics.pairs_needed(x) == statistics.pairs_needed([2.0]) == 1000
    assert statistics.pairs_needed([1.0, 1, 1]) == 6


def test_holm_by_hand():
    """With three tests the least is tripled, the next doubled; none falls below one before it."""
    assert statistics.holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert statistics.holm([0.9, 0.8]) == [1.0, 1.0]


def test_numbers_are_rounded_by_their_uncertainty():
    cases = {
        (12.3456, 0.234): "12.35",
        (12.3456, 2.34): "12.3",
        (1234.6, 34): "1235",
        (1234.6, 340): "1230",
        (0.0012345, 0.00012): "0.00123",
        (5, math.inf): "5",
        (0.123456, 0): "0.1235",
        (math.nan, 1): "nan",
    }
    assert {case: statistics.rounded(*case) for case in cases} == cases


@pytest.mark.parametrize("n", [3, 5, 12])
def test_intervals_cover_as_often_as_they_say(n):
    """93 to 97 % of 1,000 repetitions."""
    rng = np.random.default_rng(n)
    held = 0
    for _ in range(1000):
        found = statistics.summary(rng.normal(2.0, 3.0, n))
        held += found.low <= 2.0 <= found.high
    assert 930 <= held <= 970


def test_a_null_is_found_at_most_at_the_level():
    """1,000 studies of eight arms without any difference: one in twenty finds some, at most."""
    rng = np.random.default_rng(0)
    found = 0
    for _ in range(1000):
        base = rng.normal(size=10)
        arms = [rng.normal(size=10) + 0.5 * base for _ in range(7)]
        ps = [statistics.sign_flips(arm - base) for arm in arms]
        found += min(statistics.holm(ps)) <= 0.05
    assert 0 < found <= 50 + 2 * math.sqrt(50)


def test_a_planted_difference_is_found():
    rng = np.random.default_rng(1)
    found = 0
    for _ in range(200):
        common = rng.normal(size=12)  # what a seed does to all arms: paired, it costs nothing
        base, same, better = (common + 0.3 * rng.normal(size=12) + d for d in (0, 0, 0.6))
        arms = {"same": (same, base), "better": (better, base)}
        found += statistics.differences(arms)["better"].p <= 0.05
    assert found >= 190


def test_ranks_are_sure_where_arms_are_far_apart_and_open_where_they_are_not():
    rng = np.random.default_rng(0)
    found = {
        "far": dict(enumerate(10 + rng.normal(size=10))),
        "one": dict(enumerate(rng.normal(size=10))),
        "two": dict(enumerate(rng.normal(size=10))),
        "lost": {0: math.nan},
    }
    ranks = statistics.ranking(found, higher=True)
    assert ranks == {"far": (1, 1), "one": (2, 3), "two": (2, 3)}
    turned = statistics.ranking(found, higher=False)
    assert turned == {"far": (3, 3), "one": (1, 2), "two": (1, 2)}


def test_ranks_go_by_differences_seed_by_seed():
    """A small difference that all seeds show is sure, however much seeds differ."""
    values = np.random.default_rng(1).normal(0, 100, 8)
    found = {"a": dict(enumerate(values)), "b": dict(enumerate(values + 0.1))}
    assert statistics.ranking(found, higher=True) == {"a": (2, 2), "b": (1, 1)}


def test_ranks_of_equal_arms_and_of_one_seed_are_open():
    equal = {"a": {0: 8.0, 1: 8.0}, "b": {0: 8.0, 1: 8.0}}
    assert statistics.ranking(equal, higher=True) == {"a": (1, 2), "b": (1, 2)}
    assert statistics.ranking({"a": {0: 1.0}, "b": {0: 2.0, 1: 2.0}}, higher=True)["a"] == (1, 2)
    assert statistics.ranking({"a": {0: 1.0}, "b": {}}, higher=True) == {}


def test_equal_arms_are_seldom_ranked():
    """An arm's interval misses its true places at most 5 % of the time, all arms being equal."""
    rng, missed = np.random.default_rng(2), 0
    for _ in range(1000):
        ranks = statistics.ranking({a: dict(enumerate(rng.normal(size=4))) for a in "abcd"}, True)
        missed += ranks["a"] != (1, 4)
    assert missed / 1000 <= 0.05 + 0.014  # two standard errors

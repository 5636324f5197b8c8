"""Modes, quality and reverse KL against closed forms."""

import json

import numpy as np
import pytest

from jaxgan.data.points import SECTIONS, WORLDS, draw
from jaxgan.metrics import modes

FLAT = ("ring", "grid")


def scores(points, name):
    return modes.scores(np.asarray(points, np.float32), WORLDS[name])


@pytest.mark.parametrize("name", FLAT)
def test_even_shares_have_no_divergence(name):
    world = WORLDS[name]
    found = scores(np.repeat(world.centres, 100, 0), name)
    assert found == {
        "modes": world.modes,
        "high_quality": 1.0,
        "reverse_kl": pytest.approx(0, abs=1e-12),
    }


@pytest.mark.parametrize("name", FLAT)
def test_one_mode_is_log_of_their_number(name):
    world = WORLDS[name]
    found = scores(np.repeat(world.centres[3:4], 100, 0), name)
    assert found == {
        "modes": 1,
        "high_quality": 1.0,
        "reverse_kl": pytest.approx(np.log(world.modes)),
    }


@pytest.mark.parametrize("k", [2, 4])
def test_k_of_m_modes(k):
    """Even over k of M modes: KL is log(M / k); half of all samples elsewhere change nothing."""
    world = WORLDS["ring"]
    good = np.repeat(world.centres[:k], 50, 0)
    found = scores(np.concatenate([good, np.zeros((50 * k, 2))]), "ring")
    assert found["modes"] == k
    assert found["high_quality"] == 0.5
    assert found["reverse_kl"] == pytest.approx(np.log(8 / k))


def test_uneven_shares():
    world = WORLDS["grid"]
    found = scores(world.centres[[0, 0, 0, 7]], "grid")
    assert found["reverse_kl"] == pytest.approx(0.75 * np.log(0.75 * 25) + 0.25 * np.log(0.25 * 25))


def test_quality_ends_at_three_deviations():
    world = WORLDS["ring"]
    for off, share in ((2.99, 1.0), (3.01, 0.0)):
        points = world.centres + off * world.deviation * np.array([0.6, 0.8])
        assert scores(points, "ring")["high_quality"] == share
    index, distance = modes.nearest(world.centres + np.array([0.03, -0.04]), world)
    assert index.tolist() == list(range(8))
    np.testing.assert_allclose(distance, 1)


def test_a_mode_asks_for_a_share_and_not_for_a_stray():
    world = WORLDS["ring"]
    fair = 1000
    rest = np.repeat(world.centres[1:], fair, 0)
    needed = int(modes.ENOUGH * fair)
    for few, reached in ((1, 7), (needed - 1, 7), (needed, 8)):
        # all in all 8 fair shares, so that a fair share stays one
        filler = np.zeros((fair - few, 2))
        points = np.concatenate([rest, np.repeat(world.centres[:1], few, 0), filler])
        assert scores(points, "ring")["modes"] == reached
    # of few samples one is enough, as in the papers
    assert scores(world.centres, "ring")["modes"] == 8
    assert scores(world.centres[:3], "ring")["modes"] == 3


@pytest.mark.parametrize(
    "points",
    [np.zeros((100, 2)), np.full((5, 2), np.nan), np.full((5, 2), 3e38), np.zeros((0, 2))],
)
@pytest.mark.parametrize("name", WORLDS)
def test_what_reaches_nothing_has_figures_that_can_be_logged(name, points):
    if name == "grid":
        points = points + 0.5
    found = scores(points, name)
    assert found == {
        "modes": 0,
        "high_quality": 0.0,
        "reverse_kl": pytest.approx(np.log(WORLDS[name].modes)),
    }
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_points_that_are_not_finite_are_samples_still():
    points = WORLDS["ring"].centres.copy()
    points[0, 0], points[1, 1] = np.nan, np.inf
    assert scores(points, "ring")["high_quality"] == 0.75
    with np.errstate(all="raise"):
        assert modes.nearest(np.array([[1e300, 0.0]]), WORLDS["ring"])[1] > 1e9


@pytest.mark.parametrize(
    ("name", "quality"), [("ring", 0.9889), ("grid", 0.9889), ("swiss_roll", 0.9973)]
)
def test_the_data_score_as_the_law_says(name, quality):
    """Within 3 deviations: 1 - exp(-9/2) of a Gaussian in the plane, erf(3 / sqrt 2) on a line."""
    world, count = WORLDS[name], 5000
    points, labels = draw(world, count, np.random.default_rng(0))
    found = modes.scores(points, world)
    assert found["modes"] == world.modes
    assert found["high_quality"] == pytest.approx(quality, abs=0.006)
    # 2 N KL is chi-squared of M - 1 degrees
    assert found["reverse_kl"] == pytest.approx((world.modes - 1) / 2 / count, rel=2)
    index, _ = modes.nearest(points, world)
    off = np.abs(index - labels)
    assert off.max() <= (1 if world.centres is None else 0)


def test_the_roll_counts_sections():
    world = WORLDS["swiss_roll"]
    half = world.curve[: len(world.curve) // 2]
    found = modes.scores(half, world)
    assert found == {
        "modes": SECTIONS // 2,
        "high_quality": 1.0,
        "reverse_kl": pytest.approx(np.log(2)),
    }
    # off the curve along its normal: that far away, within what its points lie apart
    along = np.gradient(world.curve, axis=0)
    normal = np.stack([-along[:, 1], along[:, 0]], 1) / np.hypot(*along.T)[:, None]
    _, distance = modes.nearest(world.curve + 2 * world.deviation * normal, world)
    np.testing.assert_allclose(distance, 2, atol=0.01)


def test_labels():
    labels = np.array([0, 1, 2, 3, 4, 4])
    sure = np.array([True, True, True, True, False, False])
    assert modes.label_scores(labels, sure, 1000) == {
        "modes": 4,
        "readable": pytest.approx(4 / 6),
        "reverse_kl": pytest.approx(np.log(250)),
    }
    every = np.arange(1000)
    assert modes.label_scores(every, every >= 0, 1000) == {
        "modes": 1000,
        "readable": 1.0,
        "reverse_kl": pytest.approx(0, abs=1e-12),
    }
    for some in (every, every[:0]):
        nothing = modes.label_scores(some, some < 0, 1000)
        assert nothing == {"modes": 0, "readable": 0.0, "reverse_kl": pytest.approx(np.log(1000))}


def test_points_are_in_the_plane():
    for shape in ((4,), (4, 3), (2, 4, 2)):
        with pytest.raises(ValueError, match="points are"):
            modes.nearest(np.zeros(shape), WORLDS["ring"])

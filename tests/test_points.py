"""The toy worlds: where their modes are, how they are shared, and how far points lie from them."""

import numpy as np
import pytest

from jaxgan.data.points import SECTIONS, WORLDS, draw

COUNT = 40_000


@pytest.fixture(scope="module", params=WORLDS)
def drawn(request):
    world = WORLDS[request.param]
    return world, *draw(world, COUNT, np.random.default_rng(0))


def test_modes_are_where_the_papers_put_them():
    ring, grid = WORLDS["ring"].centres, WORLDS["grid"].centres
    assert (len(ring), len(grid)) == (WORLDS["ring"].modes, WORLDS["grid"].modes) == (8, 25)
    np.testing.assert_allclose(np.hypot(*ring.T), 1)
    np.testing.assert_allclose(np.hypot(*(ring - np.roll(ring, 1, 0)).T), 2 * np.sin(np.pi / 8))
    assert {tuple(c) for c in grid} == {(x, y) for x in range(-2, 3) for y in range(-2, 3)}
    for world in WORLDS.values():
        assert world.deviation == 0.05


def test_modes_have_equal_shares(drawn):
    world, points, labels = drawn
    assert points.shape == (COUNT, 2)
    assert points.dtype == np.float32
    assert labels.dtype == np.int32
    counts = np.bincount(labels)
    assert len(counts) == world.modes
    # Pearson's statistic: M - 1 in the mean, sqrt(2 (M - 1)) about it
    fair = COUNT / world.modes
    assert np.sum((counts - fair) ** 2) / fair < world.modes + 5 * np.sqrt(2 * world.modes)


def test_points_are_gaussian_about_their_modes():
    for name in ("ring", "grid"):
        world = WORLDS[name]
        points, labels = draw(world, COUNT, np.random.default_rng(1))
        off = (points - world.centres[labels]) / world.deviation
        np.testing.assert_allclose(np.cov(off.T), np.eye(2), atol=0.03)
        # the radius is Rayleigh's: within 3 deviations lie 1 - exp(-9/2)
        inside = np.mean((off**2).sum(1) <= 9)
        assert abs(inside - (1 - np.exp(-4.5))) < 0.003


def test_the_roll_is_a_spiral_and_noise():
    world = WORLDS["swiss_roll"]
    angle = np.unwrap(np.arctan2(world.curve[:, 1], world.curve[:, 0]))
    radius = np.hypot(*world.curve.T)
    np.testing.assert_allclose(np.diff(radius) / np.diff(angle), 1 / (3 * np.pi), rtol=1e-6)
    assert angle[-1] - angle[0] == pytest.approx(3 * np.pi, rel=2e-3)
    assert (radius[0], radius[-1]) == pytest.approx((0.5, 1.5), abs=1e-3)
    points, labels = draw(world, COUNT, np.random.default_rng(2))
    # the spiral's radius at a point's own turn, near its section's
    middle = radius.reshape(SECTIONS, -1).mean(1)[labels]
    turn = np.arctan2(points[:, 1], points[:, 0])
    own = (turn - 1.5 * np.pi) / (3 * np.pi) + 0.5
    own += np.round((middle - own) * 1.5) / 1.5
    off = (np.hypot(*points.T) - own) / world.deviation
    # noise along the turn adds deviation^2 / 2 radius: its mean over radii from 1/2 to 3/2
    assert off.mean() == pytest.approx(0.05 / 2 * np.log(3), abs=0.015)
    assert off.std() == pytest.approx(1, abs=0.02)


def test_all_is_within_bounds(drawn):
    world, points, _ = drawn
    low, high = world.bounds
    assert low < points.min()
    assert points.max() < high


def test_a_draw_depends_on_the_generator_alone(drawn):
    world, points, labels = drawn
    again, same = draw(world, COUNT, np.random.default_rng(0))
    assert np.array_equal(again, points)
    assert np.array_equal(same, labels)
    assert not np.array_equal(draw(world, COUNT, np.random.default_rng(1))[0], points)
    with pytest.raises(ValueError, match="read-only"):
        (world.curve if world.centres is None else world.centres)[0] = 7

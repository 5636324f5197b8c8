"""Panels of samples over data."""

import numpy as np
import pytest

from jaxgan import plots
from jaxgan.data.points import WORLDS, draw

BOUNDS = (-1.0, 1.0)
NOTHING = np.zeros((0, 2), np.float32)


def ink(picture):
    """How far each pixel is from white, without the frame."""
    return (255 - picture.astype(int)).sum(2)[1:-1, 1:-1]


def middle(amounts):
    total = amounts.sum()
    at = np.arange(len(amounts)) + 0.5
    return (amounts.sum(0) @ at) / total, (amounts.sum(1) @ at) / total


def test_x_is_to_the_right_and_y_is_up():
    point = np.array([[0.5, 0.25]], np.float32)
    for real, fake, near in ((point, NOTHING, 0.5), (NOTHING, point, 0.1)):
        picture = plots.density_panel(real, fake, BOUNDS, size=102)
        assert picture.shape == (102, 102, 3)
        assert picture.dtype == np.uint8
        # within the frame: 102 pixels for two units
        x, y = middle(ink(picture))
        assert x == pytest.approx(0.75 * 102 - 1, abs=near)
        assert y == pytest.approx(0.375 * 102 - 1, abs=near)


def test_a_dot_moves_smoothly():
    """Anti-aliased: half a pixel to the right moves the ink by as much."""
    at = [
        middle(ink(plots.density_panel(NOTHING, np.array([[x, 0.0]]), BOUNDS, size=100)))[0]
        for x in (0.0, 0.01, 0.02)
    ]
    np.testing.assert_allclose(np.diff(at), 0.5, atol=0.1)


def test_samples_and_data_have_their_own_colours():
    rng = np.random.default_rng(0)
    world = WORLDS["ring"]
    real, fake = draw(world, 5000, rng)[0], draw(world, 500, rng)[0]
    empty, ground, dots, both = (
        plots.density_panel(r, f, world.bounds).astype(int)
        for r, f in ((NOTHING, NOTHING), (real, NOTHING), (NOTHING, fake), (real, fake))
    )
    assert (empty[1:-1, 1:-1] == 255).all()
    assert (ground[..., 2] - ground[..., 0]).max() > 50  # blue
    assert (dots[..., 0] - dots[..., 2]).max() > 50  # red
    # dots lie over the ground
    assert (both[..., 2] <= ground[..., 2]).all()
    covered = (dots != empty).any(2)
    assert np.abs(both - ground)[~covered].max() <= 1
    assert np.abs(both - dots)[covered].max() > 1


def test_samples_out_of_bounds_are_seen_on_the_rim():
    far = np.array([[9.0, 0.0], [np.nan, 0.0], [np.inf, 1.0]])
    amounts = ink(plots.density_panel(far, far, BOUNDS, size=100))
    assert amounts[:, -1].max() > 0
    assert amounts[:, :-4].max() == 0


def test_panels_are_titled_and_in_rows():
    picture = np.zeros((130, 130, 3), np.uint8)
    one, three, five = (
        plots.panels([(f"loss {i}", picture) for i in range(n)], columns=3) for n in (1, 3, 5)
    )
    assert one.shape[0] == three.shape[0]
    assert five.shape == (2 * one.shape[0], three.shape[1], 3)
    dark = (five == 0).all(2)
    assert dark.sum() == 5 * 130 * 130
    # titles stand above
    assert (five[: one.shape[0] - 130 - 8] < 200).any()
    with pytest.raises(ValueError, match="no panels"):
        plots.panels([])

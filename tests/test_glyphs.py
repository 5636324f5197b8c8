"""The built-in glyphs: pure, balanced, the nuisance independent of the class, and read back."""

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from jaxgan.data import glyphs
from jaxgan.errors import UserError

FIRST, COUNT = 1_000_000, 500


@pytest.fixture(scope="module")
def held_out():
    """Pictures at 32 pixels, their classes, and their nuisance by name."""
    source = glyphs.Glyphs(32, FIRST, COUNT)
    truth = [glyphs.nuisance(FIRST + i) for i in range(COUNT)]
    truth = {name: np.array([getattr(t, name) for t in truth]) for name in truth[0]._fields}
    return np.stack(list(source)), source.labels, truth


def digest():
    pictures = [glyphs.draw(i, 32) for i in range(10)]
    pictures += [glyphs.draw(3, 100, world=1), glyphs.draw(4, 28, channels=1)]
    pictures += [glyphs.Glyphs(8, 7, 100).labels]
    return hashlib.sha256(b"".join(p.tobytes() for p in pictures)).hexdigest()[:16]


PINNED = "1ac847e3b053b94f"


def test_pictures_are_the_same_bits_everywhere():
    assert digest() == PINNED
    code = (
        "import sys; sys.path.insert(0, 'tests'); import test_glyphs; print(test_glyphs.digest())"
    )
    fresh = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[1],
    )  # fmt: skip
    assert fresh.stdout.strip() == PINNED


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [8, 17, 33, 100])
def test_any_size(size, channels):
    picture = glyphs.draw(7, size, channels=channels)
    assert picture.shape == (size, size, channels)
    assert picture.dtype == np.uint8


def test_a_glyph_does_not_depend_on_the_size():
    for i in range(20):
        fine, coarse = (glyphs.draw(i, size).astype(float) for size in (64, 32))
        shrunk = fine.reshape(32, 2, 32, 2, 3).mean((1, 3))
        assert np.abs(shrunk - coarse).mean() < 1
        assert np.abs(shrunk - coarse).max() < 80


def test_a_glyph_does_not_depend_on_the_channels():
    for i in range(10):
        grey = glyphs.draw(i, 32, channels=1)[..., 0].astype(float)
        colour = glyphs.draw(i, 32).astype(float)
        inked = np.abs(colour - colour[0, 0]).sum(2)
        assert np.corrcoef(grey.ravel(), inked.ravel())[0, 1] > 0.99


def test_classes_are_balanced_and_in_no_order():
    labels = glyphs.Glyphs(32, 0, 1000).labels
    assert labels.dtype == np.int32
    blocks = labels.reshape(100, 10)
    assert (np.sort(blocks) == np.arange(10)).all()
    assert len({tuple(block) for block in blocks}) == 100
    # what stands first in a block says nothing
    assert np.bincount(blocks[:, 0], minlength=10).min() >= 3
    assert not np.array_equal(labels, glyphs.Glyphs(32, 0, 1000, world=1).labels)
    assert [glyphs.label(i) for i in range(13, 40)] == glyphs.Glyphs(32, 13, 27).labels.tolist()


def test_nuisance_fills_its_ranges_and_knows_no_class(held_out):
    _, labels, truth = held_out
    ranges = (glyphs.POSITION, glyphs.POSITION, glyphs.SLANT, glyphs.STROKE, glyphs.SCALE)
    for name, (low, high) in zip(truth, ranges, strict=False):
        part = (truth[name] - low) / (high - low)
        assert 0 <= part.min() < 0.01
        assert 0.99 < part.max() < 1
        means = [part[labels == k].mean() for k in range(10)]
        assert np.abs(np.array(means) - 0.5).max() < 0.15
    names = ("x", "y", "slant", "stroke", "scale")
    together = np.corrcoef([*(truth[name] for name in names), *truth["colour"].T])
    assert np.abs((together - np.eye(8))[:5]).max() < 0.15
    assert truth["colour"].min() < 0.01
    assert truth["colour"].max() > 0.99


def test_glyphs_show_and_keep_off_the_border(held_out):
    pictures, _, truth = held_out
    luma = np.array([0.299, 0.587, 0.114])
    assert np.abs((truth["colour"] - truth["background"]) @ luma).min() >= 0.3 - 1e-9
    corner = pictures[:, :1, :1]
    for side in (pictures[:, :1], pictures[:, -1:], pictures[:, :, :1], pictures[:, :, -1:]):
        assert (side == corner).all()
    grey = [glyphs.nuisance(i, channels=1) for i in range(50)]
    assert min(g.colour[0] - g.background[0] for g in grey) >= 0.35


def test_worlds_and_glyphs_differ():
    digests = {glyphs.draw(i, 16, world).tobytes() for i in range(100) for world in (0, 1)}
    assert len(digests) == 200
    # also where a label's seed and a nuisance's come close
    assert glyphs.nuisance(1, 0) != glyphs.nuisance(0, 1)


def test_a_source_is_a_range():
    source = glyphs.Glyphs(32, first=10, count=4)
    assert len(source) == len(source.labels) == 4
    assert source.names[source.labels[1]] == glyphs.CLASSES[glyphs.label(11)]
    assert np.array_equal(source[1], glyphs.draw(11, 32))
    assert np.array_equal(source[-1], glyphs.draw(13, 32))
    assert np.array_equal(source[np.int64(2)], glyphs.draw(12, 32))
    with pytest.raises(IndexError):
        source[4]
    other = glyphs.Glyphs(32, first=14, count=4)
    assert not {p.tobytes() for p in source} & {p.tobytes() for p in other}
    assert glyphs.Glyphs(32, 10, 4, channels=1)[0].shape == (32, 32, 1)


def test_the_class_is_read_back(held_out):
    pictures, labels, _ = held_out
    read, scores = glyphs.read(pictures)
    assert read.dtype == np.int32
    assert scores.dtype == np.float32
    assert (read == labels).mean() >= 0.99
    assert scores.min() > 0.9


@pytest.mark.parametrize(("size", "channels"), [(16, 3), (28, 1), (64, 3), (33, 1)])
def test_the_class_is_read_back_at_any_size(size, channels):
    source = glyphs.Glyphs(size, FIRST, 300, channels=channels)
    assert (glyphs.read(np.stack(list(source)))[0] == source.labels).mean() >= 0.99


def test_the_class_is_read_back_from_imperfect_pictures(held_out):
    pictures, labels, _ = held_out
    noise = np.random.default_rng(0).normal(0, 20, pictures.shape)
    noisy = np.clip(pictures + noise, 0, 255).astype(np.uint8)
    assert (glyphs.read(noisy)[0] == labels).mean() >= 0.97
    soft = sum(np.roll(pictures.astype(float), (i, j), (1, 2)) for i in (-1, 0, 1) for j in (0, 1))
    assert (glyphs.read((soft / 6).astype(np.uint8))[0] == labels).mean() >= 0.97


def test_what_is_no_glyph_scores_low(held_out):
    pictures, *_ = held_out
    assert (glyphs.read(np.full((2, 32, 32, 3), 7, np.uint8))[1] == 0).all()
    noise = np.random.default_rng(0).integers(0, 256, (100, 32, 32, 3)).astype(np.uint8)
    assert glyphs.read(noise)[1].max() < 0.6
    overlaid = (pictures[:250] // 2 + pictures[250:] // 2).astype(np.uint8)
    assert np.median(glyphs.read(overlaid)[1]) < 0.85


def test_the_nuisance_is_measured(held_out):
    pictures, labels, truth = held_out
    found = glyphs.measure(pictures)
    assert list(found) == list(truth)
    for name, least in (("x", 0.99), ("y", 0.99), ("slant", 0.99), ("stroke", 0.9), ("scale", 0.9)):
        assert np.corrcoef(found[name], truth[name])[0, 1] > least, name
    # what sets are compared by: the spread within a class
    for name in ("x", "y", "slant", "colour"):
        for k in range(10):
            shown, true = (values[name][labels == k].std(0) for values in (found, truth))
            assert np.abs(shown / true - 1).max() < 0.05, name
    assert np.abs(found["x"] - truth["x"]).max() < 0.02
    assert np.abs(found["y"] - truth["y"]).max() < 0.02
    assert np.abs(found["slant"] - truth["slant"]).max() < 0.03
    for name in ("colour", "background"):
        assert np.abs(found[name] - truth[name]).max() < 0.05, name


def test_nothing_is_read_from_nothing():
    labels, scores = glyphs.read(np.zeros((0, 32, 32, 3), np.uint8))
    assert len(labels) == len(scores) == 0
    assert glyphs.measure(np.zeros((0, 32, 32, 1), np.uint8))["colour"].shape == (0, 1)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((7, 0, 4), "7"),
        ((32, -1, 4), "-1"),
        ((32, 0, 0), "empty"),
        ((32, 0, 4, -2), "-2"),
        ((32, 0, 4, 0, 2), "not 2"),
    ],
)
def test_mistakes(arguments, words):
    with pytest.raises(UserError, match=words):
        glyphs.Glyphs(*arguments)
    size, index, _, *rest = arguments
    if words != "empty":
        with pytest.raises(UserError, match=words):
            glyphs.draw(index, size, *rest)


@pytest.mark.parametrize(
    ("images", "words"),
    [
        (np.zeros((32, 32, 3), np.uint8), "N, size"),
        (np.zeros((1, 32, 28, 3), np.uint8), "28"),
        (np.zeros((1, 32, 32, 2), np.uint8), "2"),
        (np.zeros((1, 32, 32, 3), np.float32), "float32"),
        (np.zeros((1, 4, 4, 3), np.uint8), "4"),
    ],
)
def test_what_cannot_be_read(images, words):
    for judge in (glyphs.read, glyphs.measure):
        with pytest.raises(UserError, match=words):
            judge(images)

"""Stacked glyphs: three independent grey glyphs, and 1,000 classes that are read back."""

import hashlib
import json

import numpy as np
import pytest

from jaxgan.data import glyphs, stacked
from jaxgan.errors import UserError

FIRST, COUNT = 1_000_000, 300


def test_pictures_are_the_same_bits_everywhere():
    parts = [stacked.draw(i, 32) for i in range(5)]
    parts += [stacked.draw(3, 17, world=2), stacked.Stacked(8, 7, 100).labels]
    assert (
        hashlib.sha256(b"".join(p.tobytes() for p in parts)).hexdigest()[:16] == "e478daa16961cb13"
    )


def test_channels_are_glyphs_of_three_worlds():
    source = stacked.Stacked(16, 20, 5, world=1)
    for c in range(3):
        alone = glyphs.Glyphs(16, 20, 5, world=3 + c, channels=1)
        assert np.array_equal(source[2][..., c], alone[2][..., 0])
        assert np.array_equal(source.labels // 10 ** (2 - c) % 10, alone.labels)
    names = [glyphs.CLASSES[glyphs.label(22, world)] for world in (3, 4, 5)]
    assert stacked.CLASSES[source.labels[2]] == "-".join(names)
    assert len(set(stacked.CLASSES)) == 1000


def test_channels_know_nothing_of_each_other():
    labels = stacked.Stacked(8, 0, 20_000).labels
    counts = np.bincount(labels, minlength=1000)
    # of independent uniform digits Pearson's statistic is 999 in the mean, 45 about it;
    # somewhat less, since each digit is balanced in itself
    statistic = np.sum((counts - 20) ** 2) / 20
    assert 800 < statistic < 1150
    assert counts.min() > 0


def test_a_source_is_a_range():
    source = stacked.Stacked(16, first=10, count=4)
    assert len(source) == len(source.labels) == 4
    assert source.labels.dtype == np.int32
    assert source[1].dtype == np.uint8
    assert source[1].shape == (16, 16, 3)
    assert np.array_equal(source[1], stacked.draw(11, 16))
    assert np.array_equal(source[-1], stacked.draw(13, 16))
    assert [stacked.label(i) for i in range(10, 14)] == source.labels.tolist()
    json.dumps(stacked.label(10))
    with pytest.raises(IndexError):
        source[4]
    assert not np.array_equal(source.labels, stacked.Stacked(16, 10, 4, world=1).labels)


@pytest.mark.parametrize("size", [16, 32])
def test_the_class_is_read_back(size):
    source = stacked.Stacked(size, FIRST, COUNT)
    labels, scores = stacked.read(np.stack([source[i] for i in range(COUNT)]))
    assert labels.dtype == np.int32
    assert scores.dtype == np.float32
    assert labels.shape == scores.shape == (COUNT,)
    assert (labels == source.labels).mean() >= 0.97
    assert np.mean(scores >= 0.8) >= 0.99


def test_a_picture_is_as_readable_as_its_worst_channel():
    source = stacked.Stacked(32, FIRST, 20)
    images = np.stack([source[i] for i in range(20)])
    images[:, :, :, 1] = np.random.default_rng(0).integers(0, 256, images.shape[:3])
    labels, scores = stacked.read(images)
    assert scores.max() < 0.6
    assert (labels // 100 == source.labels // 100).all()
    assert (labels % 10 == source.labels % 10).all()
    labels, scores = stacked.read(images[:0])
    assert labels.shape == scores.shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((7, 0, 4), "7"),
        ((32, -1, 4), "-1"),
        ((32, 0, 0), "empty"),
        ((32, 0, 4, -2), "count from 0"),
    ],
)
def test_mistakes(arguments, words):
    with pytest.raises(UserError, match=words):
        stacked.Stacked(*arguments)


def test_what_cannot_be_read():
    for images, words in (
        (np.zeros((1, 32, 32, 1), np.uint8), "32, 1"),
        (np.zeros((32, 32, 3), np.uint8), "N, size"),
        (np.zeros((1, 32, 28, 3), np.uint8), "28"),
        (np.zeros((1, 32, 32, 3), np.float32), "float32"),
    ):
        with pytest.raises(UserError, match=words):
            stacked.read(images)

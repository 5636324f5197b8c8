import json
import threading
import time

import numpy as np
import pytest

from jaxgan.data import pipeline, transforms
from jaxgan.errors import UserError


def traced(count, size):
    """Images whose pixels tell image, row and column: [count, size, size, 3]."""
    number, row, column = np.mgrid[:count, :size, :size]
    return np.stack([number, row, column], axis=-1).astype(np.uint8)


def batches(a=7, b=5, size=8, **options):
    options = {"seed": 0, "batch_size": 1, "image_size": size, "flip": False, **options}
    options.setdefault("load_size", size)
    load = options["load_size"]
    sources = [traced(n, load) if isinstance(n, int) else n for n in (a, b)]
    return pipeline.unpaired(*sources, **options)


def take(iterator, count):
    return [next(iterator) for _ in range(count)]


def numbers(taken, domain):
    return np.concatenate([batch[domain][..., 0, 0, 0].ravel() for batch in taken])


def assert_same(these, those):
    assert len(these) == len(those)
    for this, that in zip(these, those, strict=True):
        assert this.keys() == that.keys()
        for name in this:
            np.testing.assert_array_equal(this[name], that[name])


@pytest.fixture
def stream():
    """Makes streams and closes them."""
    made = []

    def make(*args, **options):
        made.append(batches(*args, **options))
        return made[-1]

    yield make
    for iterator in made:
        iterator.close()


RANDOM = {"size": 6, "load_size": 9, "flip": True, "batch_size": 2}


# Contents


def test_a_batch_has_two_domains_of_uint8(stream):
    batch = next(stream(size=6, load_size=9, flip=True, batch_size=3))
    assert list(batch) == ["A", "B"]
    for images in batch.values():
        assert images.shape == (3, 6, 6, 3)
        assert images.dtype == np.uint8


@pytest.mark.parametrize("batch_size", [1, 3])
def test_every_epoch_shows_every_image_once(stream, batch_size):
    taken = take(stream(a=12, b=5, batch_size=batch_size), 60 // batch_size)
    larger = numbers(taken, "A").reshape(-1, 12)
    smaller = numbers(taken, "B").reshape(-1, 5)
    assert (np.sort(larger, axis=1) == np.arange(12)).all()
    assert (np.sort(smaller, axis=1) == np.arange(5)).all()
    assert len(np.unique(larger, axis=0)) == 5  # another order in every epoch
    assert len(np.unique(smaller, axis=0)) > 8


def test_the_domains_are_shuffled_independently(stream):
    taken = take(stream(a=20, b=20), 20)
    assert (numbers(taken, "A") == numbers(taken, "B")).sum() < 6


def test_without_flip_and_crop_images_are_untouched(stream):
    for batch in take(stream(a=4), 8):
        number = batch["A"][0, 0, 0, 0]
        np.testing.assert_array_equal(batch["A"][0], traced(4, 8)[number])


def test_crops_are_windows_and_flips_mirror_half_of_them(stream):
    taken = take(stream(size=6, load_size=9, flip=True), 400)
    corners, flipped = [], 0
    for batch in taken:
        for name, count in (("A", 7), ("B", 5)):
            image = batch[name][0]
            mirrored = image[0, 0, 2] > image[0, -1, 2]
            flipped += mirrored
            upright = image[:, ::-1] if mirrored else image
            number, top, left = upright[0, 0]
            corners.append((top, left))
            expected = traced(count, 9)[number, top : top + 6, left : left + 6]
            np.testing.assert_array_equal(upright, expected)
    assert set(corners) == {(top, left) for top in range(4) for left in range(4)}
    _, counts = np.unique(corners, axis=0, return_counts=True)
    assert counts.min() > 25  # 50 expected of each
    assert 340 < flipped < 460  # 400 expected


def test_crops_change_from_visit_to_visit_and_between_the_domains(stream):
    taken = take(stream(a=1, b=1, size=4, load_size=20), 20)
    corners = {name: [tuple(batch[name][0, 0, 0, 1:]) for batch in taken] for name in "AB"}
    assert len(set(corners["A"])) > 15
    assert corners["A"] != corners["B"]


def test_grey_images_keep_their_one_channel(stream):
    grey = traced(3, 9)[..., 2:]
    batch = next(stream(a=grey, b=grey, size=6, load_size=9, flip=True))
    assert batch["A"].shape == (1, 6, 6, 1)


def test_float_images_of_many_channels_are_cropped_and_flipped(stream):
    many = np.random.default_rng(0).normal(size=(1, 9, 9, 5)).astype(np.float32)
    taken = take(stream(a=many, b=many, size=6, load_size=9, flip=True), 40)
    windows = [many[0, top : top + 6, left : left + 6] for top in range(4) for left in range(4)]
    windows = {w.tobytes() for window in windows for w in (window, window[:, ::-1])}
    found = {batch["A"][0].tobytes() for batch in taken}
    assert taken[0]["A"].dtype == np.float32
    assert found <= windows
    assert len(found) > 10


def test_mirror_is_a_reversal_of_columns():
    image = np.random.default_rng(0).integers(0, 255, (5, 7, 3), np.uint8)
    np.testing.assert_array_equal(transforms.mirror(image), image[:, ::-1])


# Determinism


def test_the_seed_decides_everything(stream):
    first = take(stream(**RANDOM), 12)
    assert_same(first, take(stream(**RANDOM), 12))
    other = take(stream(**RANDOM, seed=1), 12)
    assert (numbers(first, "A") != numbers(other, "A")).any()
    assert (numbers(first, "B") != numbers(other, "B")).any()


@pytest.mark.parametrize("options", [{"num_threads": 0}, {"num_threads": 4, "buffer_size": 2}])
def test_threads_change_nothing(stream, options):
    assert_same(take(stream(**RANDOM), 30), take(stream(**RANDOM, **options), 30))


def test_threads_change_nothing_where_images_come_at_odd_times(stream):
    class Slow:
        def __len__(self):
            return 7

        def __getitem__(self, index):
            time.sleep(0.002 * (index % 3))
            return traced(7, 9)[index]

    slow = stream(a=Slow(), **RANDOM, num_threads=4)
    assert_same(take(stream(**RANDOM), 20), take(slow, 20))


@pytest.mark.parametrize("consumed", [0, 1, 5, 23])
@pytest.mark.parametrize("num_threads", [0, 2])
def test_state_is_that_of_the_batch_consumed_last(stream, consumed, num_threads):
    whole = take(stream(**RANDOM), consumed + 10)
    killed = stream(**RANDOM, num_threads=num_threads)
    take(killed, consumed)
    time.sleep(0.05)  # lets the threads run ahead
    state = json.loads(json.dumps(killed.get_state()))
    resumed = stream(**RANDOM, num_threads=num_threads)
    resumed.set_state(state)
    assert resumed.get_state() == state
    assert_same(whole[consumed:], take(resumed, 10))


def test_a_stream_can_be_set_back_and_forth(stream):
    iterator = stream(**RANDOM)
    first = take(iterator, 4)
    state = iterator.get_state()
    then = take(iterator, 6)
    iterator.set_state(state)
    assert_same(then, take(iterator, 6))
    iterator.set_state(stream(**RANDOM).get_state())
    assert_same(first, take(iterator, 4))


@pytest.mark.parametrize("leading", [None, (3, 2)])
@pytest.mark.parametrize("process_count", [2, 4])
def test_processes_take_contiguous_slices_of_each_batch(stream, leading, process_count):
    options = {**RANDOM, "batch_size": 8, "leading": leading}
    whole = take(stream(**options), 5)
    axis = 2 if leading else 0
    parts = [
        take(stream(**options, process_index=i, process_count=process_count), 5)
        for i in range(process_count)
    ]
    joined = [
        {name: np.concatenate([part[name] for part in step], axis=axis) for name in "AB"}
        for step in zip(*parts, strict=True)
    ]
    assert_same(whole, joined)


def test_leading_axes_only_fold_the_same_images(stream):
    options = {**RANDOM, "batch_size": 4}
    folded = take(stream(**options, leading=(3, 2)), 4)
    assert folded[0]["A"].shape == (3, 2, 2, 6, 6, 3)
    flat = take(stream(**options), 12)
    unfolded = [
        {name: batch[name][round_].reshape(4, 6, 6, 3) for name in "AB"}
        for batch in folded
        for round_ in range(3)
    ]
    assert_same(flat, unfolded)


# Mistakes and failures


def test_a_crop_larger_than_the_image_is_refused():
    with pytest.raises(UserError, match=r"image_size=8 is larger than data\.load_size=6"):
        batches(size=8, load_size=6)


@pytest.mark.parametrize("options", [{"leading": (1, 3)}, {"process_count": 3}])
def test_batches_that_do_not_divide_are_refused(options):
    with pytest.raises(UserError, match=r"batch_size=4 .*a multiple of 3"):
        batches(batch_size=4, **options)


@pytest.mark.parametrize("num_threads", [0, 2])
def test_after_an_error_the_same_batch_comes_again(stream, num_threads):
    class Failing:
        broken = True

        def __len__(self):
            return 7

        def __getitem__(self, index):
            if index == 3 and self.broken:
                raise UserError("3.png can't be read")
            return traced(7, 8)[index]

    expected = take(stream(), 7)
    source = Failing()
    iterator = stream(a=source, num_threads=num_threads)
    good = numbers(expected, "A").tolist().index(3)
    taken = take(iterator, good)
    with pytest.raises(UserError, match=r"3\.png"):
        next(iterator)
    source.broken = False
    assert_same(expected, taken + take(iterator, 7 - len(taken)))


def test_close_is_prompt_and_ends_the_threads():
    before = threading.enumerate()
    permits = threading.Semaphore(2)  # one a thread: who reads the first batch isn't sure
    reads = []

    class Blocking:
        def __len__(self):
            return 7

        def __getitem__(self, index):
            reads.append(index)
            assert permits.acquire(timeout=30)
            return traced(7, 8)[index]

    iterator = batches(a=Blocking(), num_threads=2, buffer_size=8)
    next(iterator)
    began = time.monotonic()
    iterator.close()
    iterator.close()
    assert time.monotonic() - began < 15  # did not wait for the blocked reads
    threads = [thread for thread in threading.enumerate() if thread not in before]
    assert threads
    permits.release(100)
    for thread in threads:
        thread.join(timeout=15)
        assert not thread.is_alive()
    assert len(reads) <= 2 + 2 * 2  # not the whole buffer


def test_waiting_is_measured(stream):
    class Slow:
        def __len__(self):
            return 7

        def __getitem__(self, index):
            time.sleep(0.02)
            return traced(7, 8)[index]

    iterator = stream(a=Slow(), num_threads=0)
    assert iterator.waited_seconds == 0
    began = time.perf_counter()
    take(iterator, 3)
    assert 0.06 <= iterator.waited_seconds <= time.perf_counter() - began

"""Endless streams of training batches: shuffled, cropped, flipped and prefetched with Grain.

The batch of a step is a pure function of the seed and the step: each domain is shuffled anew for
each pass over it, and every record of the stream draws its crop and flip from its own counter.
Threads, prefetching and the number of processes change when a batch is made, never what is in it,
and the state of a stream is one integer.
"""

import functools
import sys
import time
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import grain
import numpy as np

from jaxgan.data import transforms
from jaxgan.data.sources import Source, available_cores
from jaxgan.errors import UserError


def unpaired(train_A: Source, train_B: Source, **settings: Any) -> "Batches":
    """Batches {"A", "B"} of two domains that are shuffled independently; see `batches`."""
    return batches({"A": train_A, "B": train_B}, **settings)


def labelled(train: Source, labels: np.ndarray, **settings: Any) -> "Batches":
    """Batches {"image", "label"} of images and their classes, int32 by index; see `batches`."""
    return batches({"image": _Labelled(train, labels)}, **settings)


def paired(train: Source, channels: int, **settings: Any) -> "Batches":
    """Batches {"input", "truth"} of pairs in one array; see `batches`.

    Args:
        train: pairs, of whose channels the first `channels` are the input's.
    """
    return batches(
        {"pair": train}, cut={"input": slice(channels), "truth": slice(channels, None)}, **settings
    )


def upscaled(
    train: Source, reduced: Source, *, image_size: int, flip: bool, rotate: bool, **settings: Any
) -> "Batches":
    """Batches {"input", "truth"}: crops of small images and of the large ones; see `batches`.

    Args:
        train: large images, each side a multiple of the scale and at least `image_size`.
        reduced: the small ones.
        image_size: side of the large crops.
        flip, rotate: as `transforms.aligned_crop` takes them.
    """

    def change(pair, rng: np.random.Generator):
        truth, small = transforms.aligned_crop(*pair, image_size, flip, rotate, rng)
        return {"input": small, "truth": truth}

    pairs = _Both(train, reduced)
    sizes = {"image_size": image_size, "load_size": image_size}
    return batches({"pair": pairs}, change=change, **sizes, **settings)


class _Both:
    """Two sources, together by index."""

    def __init__(self, one: Source, other: Source):
        self.one, self.other = one, other

    def __len__(self) -> int:
        return len(self.one)

    def __getitem__(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        return self.one[index], self.other[index]


class _Labelled:
    """Images and their classes, together by index."""

    def __init__(self, source: Source, labels: np.ndarray):
        self.source, self.labels = source, labels

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> dict[str, np.ndarray]:
        return {"image": self.source[index], "label": self.labels[index]}


def batches(
    sources: Mapping[str, Any],
    *,
    seed: int,
    batch_size: int,
    image_size: int,
    load_size: int,
    flip: bool = True,
    cut: Mapping[str, slice] | None = None,
    change: Callable[[Any, np.random.Generator], Any] | None = None,
    leading: tuple[int, int] | None = None,
    process_index: int = 0,
    process_count: int = 1,
    num_threads: int | None = None,
    buffer_size: int = 8,
) -> "Batches":
    """Batches of sources that are shuffled independently.

    Each source is passed over without gaps or repetitions, again and again, so that an epoch, a
    pass over the largest one, shows each of its images exactly once.

    Args:
        sources: name -> source of [load_size, load_size, C], uint8 or float32, or of dicts with
            such an `image` and more.
        seed: decides the order of the images, their crops and flips.
        batch_size: images of one source in one optimizer step, over all processes.
        image_size: side of the random crop.
        load_size: side of the sources' images.
        flip: mirror half of the visits left to right.
        cut: name -> channels: after its crop and its flip every image becomes these.
        change: (an item of a source, a generator of its own) -> what comes of it at this visit; a
            random crop and flip where None.
        leading: (repeats, accumulate), for phases with several rounds and micro-batches: a
            round takes `batch_size` images, laid out in `accumulate` micro-batches.
        process_index, process_count: this process gets its contiguous slice of every (micro-)batch.
        num_threads: threads that make batches ahead (they sleep while the buffer is full); 0 makes
            them in `next` itself, None takes a thread per core, at most 8.
        buffer_size: batches made ahead.

    Returns:
        an endless iterator of name -> [N, H, W, C] of the source's type (of dicts: of all that is
        in them, by its own name), with `leading` of [repeats, accumulate, N / accumulate, H, W, C],
        N divided by `process_count`.

    Raises:
        UserError: sizes that don't fit.
    """
    repeats, accumulate = leading or (1, 1)
    if image_size > load_size:
        raise UserError(
            f"data.image_size={image_size} is larger than data.load_size={load_size}, from which "
            "it is cropped; make load_size at least as large."
        )
    if batch_size % (accumulate * process_count):
        raise UserError(
            f"data.batch_size={batch_size} does not divide into train.accumulate={accumulate} "
            f"micro-batches on {process_count} processes; "
            f"a multiple of {accumulate * process_count} does."
        )
    micro = batch_size // accumulate
    local = micro // process_count
    start = np.arange(repeats * accumulate)[:, None] * micro + process_index * local
    offsets = (start + np.arange(local)).ravel().tolist()
    lead = (*((repeats, accumulate) if leading else ()), local)
    streams = {
        name: _stream(name, source, seed, change or _crops(image_size, load_size, flip))
        for name, source in sources.items()
    }

    def batch_at(step: int) -> dict[str, np.ndarray]:
        first = step * repeats * batch_size
        batch = {}
        for name, stream in streams.items():
            items = [stream[first + offset] for offset in offsets]
            items = [item if isinstance(item, dict) else {name: item} for item in items]
            if cut:
                items = [{n: item[name][..., at] for n, at in cut.items()} for item in items]
            for part in items[0]:
                values = np.stack([item[part] for item in items])
                batch[part] = values.reshape(*lead, *values.shape[1:])
        return batch

    dataset = grain.MapDataset.range(sys.maxsize).map(batch_at)
    if num_threads is None:
        num_threads = min(8, available_cores())
    return Batches(dataset, num_threads, max(buffer_size, num_threads))


def _crops(image_size: int, load_size: int, flip: bool) -> Callable | None:
    """What happens to an image at each visit, where anything does."""
    if not flip and load_size == image_size:
        return None
    return functools.partial(_crop_and_flip, size=image_size, flip=flip)


def _stream(name: str, source: Source, seed: int, change: Callable | None) -> grain.MapDataset:
    """An endless shuffled sequence of one domain's images, each changed at every visit."""
    words = np.random.SeedSequence([seed, zlib.crc32(name.encode())]).generate_state(2)
    order_seed, crop_seed = (int(word) for word in words)
    stream = grain.MapDataset.source(EndlessShuffle(source, order_seed))
    return stream if change is None else stream.random_map(change, seed=crop_seed)


class EndlessShuffle:
    """A source over and over, in a new order each time, by random access.

    Grain's own `shuffle` takes 0.2 ms an image on a set of 160 (it searches a larger permutation
    for a free place); here an epoch's order is drawn once and kept.
    """

    def __init__(self, source: Source, seed: int):
        self.source = source
        # Two epochs where a batch straddles them, a third where threads are that far ahead.
        self._order = functools.lru_cache(maxsize=3)(functools.partial(_order, len(source), seed))

    def __len__(self) -> int:
        return sys.maxsize

    def __getitem__(self, position: int) -> np.ndarray:
        epoch, place = divmod(position, len(self.source))
        return self.source[self._order(epoch)[place]]


def _order(count: int, seed: int, epoch: int) -> np.ndarray:
    return np.random.default_rng([seed, epoch]).permutation(count)


def _crop_and_flip(item, rng: np.random.Generator, size: int, flip: bool):
    if isinstance(item, dict):
        return item | {"image": transforms.crop_and_flip(item["image"], size, flip, rng)}
    return transforms.crop_and_flip(item, size, flip, rng)


class Batches:
    """Iterates over a Grain dataset of batches that threads make ahead.

    Args:
        dataset: batch number -> batch.
        num_threads: threads that make batches ahead; 0 makes them in `next` itself.
        buffer_size: batches made ahead.
    """

    def __init__(self, dataset: grain.MapDataset, num_threads: int = 1, buffer_size: int = 8):
        options = grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=buffer_size)
        self._iterator = iter(dataset.to_iter_dataset(options))
        self._waited = 0.0

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        began = time.perf_counter()
        try:
            return next(self._iterator)
        except BaseException:
            # Grain has let go of the batch that it was waiting for: begin again before it.
            self._iterator.set_state(self._iterator.get_state())
            raise
        finally:
            self._waited += time.perf_counter() - began

    @property
    def waited_seconds(self) -> float:
        """Seconds that `next` has taken so far, all calls together."""
        return self._waited

    def get_state(self) -> dict[str, int]:
        """Where the consumer stands, however far the threads are ahead; for JSON."""
        return self._iterator.get_state()

    def set_state(self, state: dict[str, int]):
        """The next batch is the one that followed when `get_state` gave `state`."""
        self._iterator.set_state(state)

    def close(self):
        """Returns at once; the threads end when they have finished the batch that they are at."""
        self._iterator.close()

"""The built-in glyphs: five digits and five shapes whose class can be read back without a network.

`draw(index, size)` shows one glyph of `CLASSES` in one plain colour on another. Its class is
`label(index)`; everything else about it (position, slant, stroke, scale, colours) is
`nuisance(index)`, continuous and independent of the class. So a conditional generator is scored
with the truth at hand: `read` says which classes its pictures show, `measure` how far position,
slant and colour spread.

How a picture comes about:

1. Every 10 consecutive indices from a multiple of 10 on hold each class once, in an order drawn
   from `SeedSequence([world, index // 10, 1])`.
2. `nuisance` draws the rest from `SeedSequence([world, index])`, in units of the picture's side
   (x to the right, y down). It does not know the size.
3. The class's outline, a few polylines, is scaled, slanted and shifted. A pixel's coverage
   follows from its distance to the nearest segment (anti-aliased, analytic), so the stroke is
   equally wide everywhere, and fine strokes grow paler instead of vanishing.

Ranges are such that no glyph touches the border. With one channel the same glyph is light on
dark, with greys of its own.

Only +, -, *, /, sqrt, floor and comparisons, each a ufunc of its own, touch the pixels, and
only `Generator.random` is drawn from: all exact in IEEE arithmetic, so the pictures are the
same bits on every machine. `read` and `measure` use matrix products and don't promise that.
"""

from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from jaxgan.errors import UserError

# the label of a digit is the digit
CLASSES = (
    *("zero", "one", "two", "three", "four"),
    *("triangle", "square", "cross", "heart", "star"),
)
SMALLEST = 8

# lowest and highest value, in units of the picture's side; slant is the shift of x per height
POSITION = (0.38, 0.62)
SLANT = (-0.30, 0.30)
STROKE = (0.05, 0.09)
SCALE = (0.44, 0.60)


class Nuisance(NamedTuple):
    """What a glyph's class does not say, in units of the picture's side; colours in [0, 1]."""

    x: float  # the middle of the glyph's box
    y: float
    slant: float  # how far the top leans to the right, per height
    stroke: float
    scale: float  # the height of the glyph's box
    colour: tuple[float, ...]  # one value per channel
    background: tuple[float, ...]


def draw(index: int, size: int, world: int = 0, channels: int = 3) -> np.ndarray:
    """Glyph `index` of `world`: uint8 [size, size, channels], the same bits everywhere.

    Raises UserError for a size under 8, channels other than 1 and 3, or a negative index or
    world.
    """
    _check(size, channels)
    glyph = nuisance(index, world, channels)
    colour, background = (np.array(c, np.float32) * 255 for c in (glyph.colour, glyph.background))
    coverage = _coverage(label(index, world), glyph, size)[..., None]
    return (background + coverage * (colour - background) + 0.5).astype(np.uint8)


def label(index: int, world: int = 0) -> int:
    """The class of glyph `index`: an index into `CLASSES`."""
    _counted(index, world)
    return int(_order(index // len(CLASSES), world)[index % len(CLASSES)])


def nuisance(index: int, world: int = 0, channels: int = 3) -> Nuisance:
    """All that varies within a class; a pure function. Colours have one value per channel."""
    _counted(index, world)
    rng = _generator(world, index)
    x, y, slant, stroke, scale, *greys = rng.random(7).tolist()
    colours = _greys(*greys) if channels == 1 else _colours(rng)
    return Nuisance(
        _within(POSITION, x),
        _within(POSITION, y),
        _within(SLANT, slant),
        _within(STROKE, stroke),
        _within(SCALE, scale),
        *colours,
    )


class Glyphs:
    """A random-access source of `count` glyphs from index `first` on.

    Indexing gives uint8 [size, size, channels]; `labels` is int32 [count], `names` says what
    they mean. Raises UserError as `draw` does, and for an empty range.
    """

    names = CLASSES

    def __init__(self, size: int, first: int, count: int, world: int = 0, channels: int = 3):
        if count < 1:
            raise UserError(f"a source of {count} glyphs is empty; give it at least 1")
        _check(size, channels)
        _counted(first, world)
        self.size, self.channels = size, channels
        self.first, self.count, self.world = first, count, world
        blocks = range(first // len(CLASSES), (first + count - 1) // len(CLASSES) + 1)
        labels = np.concatenate([_order(block, world) for block in blocks])
        start = first % len(CLASSES)
        self.labels = labels[start : start + count].astype(np.int32)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> np.ndarray:
        if not -self.count <= i < self.count:
            raise IndexError(f"glyph {i} of {self.count}")
        return draw(self.first + int(i) % self.count, self.size, self.world, self.channels)


def _check(size: int, channels: int):
    if size < SMALLEST:
        raise UserError(
            f"data.image_size={size} is too small for a glyph; try "
            f"--config.data.image_size={SMALLEST}"
        )
    if channels not in (1, 3):
        raise UserError(
            f"data.channels={channels} doesn't fit the built-in glyphs, which have 1 (grey) or 3, "
            f"not {channels}"
        )


def _counted(index: int, world: int):
    if index < 0 or world < 0:
        raise UserError(f"glyphs and worlds count from 0: no glyph {index} of world {world}")


def _generator(*entropy: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(entropy)))


@lru_cache(64)
def _order(block: int, world: int) -> np.ndarray:
    """The labels of a block of consecutive indices."""
    # the 1 keeps this apart from the nuisance of the glyph whose index is the block's
    return np.argsort(_generator(world, block, 1).random(len(CLASSES)), kind="stable")


def _within(bounds: tuple[float, float], part: float) -> float:
    return bounds[0] + (bounds[1] - bounds[0]) * part


def _greys(one: float, other: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    return (_within((0.65, 1.0), one),), (_within((0.0, 0.30), other),)


def _colours(rng: np.random.Generator) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Any two colours that differ enough in brightness for eyes to read one on the other."""
    while True:
        one, other = rng.random((2, 3)).tolist()
        red, green, blue = (a - b for a, b in zip(one, other, strict=True))
        if abs(0.299 * red + 0.587 * green + 0.114 * blue) >= 0.3:
            return tuple(one), tuple(other)


# --- outlines: y from -0.5 (top) to 0.5, x at most 0.44 from the middle --------------------

_STEPS = 6  # segments of a quarter circle


def _arc(x: float, y: float, rx: float, ry: float, first: int, last: int) -> list:
    """An elliptic arc; its ends in steps of a quarter's `_STEPS`, clockwise from the right."""
    points = []
    for step in range(first, last + 1):
        quarter, part = step // _STEPS % 4, step % _STEPS / _STEPS
        # a rational circle: sin and cos are not the same bits everywhere
        norm = 1 + part * part
        dx, dy = (1 - part * part) / norm, 2 * part / norm
        for _ in range(quarter):
            dx, dy = -dy, dx
        points.append((x + rx * dx, y + ry * dy))
    return points


_STAR = (
    *((0.0, -1.0), (0.247, -0.340), (0.951, -0.309), (0.399, 0.130), (0.588, 0.809)),
    *((0.0, 0.42), (-0.588, 0.809), (-0.399, 0.130), (-0.951, -0.309), (-0.247, -0.340)),
    (0.0, -1.0),
)
_OUTLINES = {
    "zero": [_arc(0, 0, 0.29, 0.5, 0, 24)],
    "one": [[(-0.22, -0.27), (0.02, -0.5), (0.02, 0.5)], [(-0.22, 0.5), (0.26, 0.5)]],
    "two": [[*_arc(0, -0.22, 0.28, 0.28, 12, 27), (-0.30, 0.5), (0.32, 0.5)]],
    "three": [
        _arc(-0.02, -0.26, 0.25, 0.24, 14, 30),
        _arc(-0.02, 0.24, 0.30, 0.26, 18, 34),
    ],
    "four": [[(0.13, 0.5), (0.13, -0.5), (-0.34, 0.20), (0.34, 0.20)]],
    "triangle": [[(0, -0.46), (0.38, 0.38), (-0.38, 0.38), (0, -0.46)]],
    "square": [[(-0.36, -0.36), (0.36, -0.36), (0.36, 0.36), (-0.36, 0.36), (-0.36, -0.36)]],
    "cross": [[(-0.36, -0.42), (0.36, 0.42)], [(0.36, -0.42), (-0.36, 0.42)]],
    "heart": [
        [
            *((0, 0.46), *_arc(-0.185, -0.20, 0.185, 0.21, 11, 24)),
            *(*_arc(0.185, -0.20, 0.185, 0.21, 13, 25), (0, 0.46)),
        ]
    ],
    "star": [[(0.46 * x, 0.46 * y + 0.04) for x, y in _STAR]],
}
# per class the segments [count, 4]: from (x, y) to (x, y)
_SEGMENTS = [
    np.array([(*a, *b) for line in _OUTLINES[name] for a, b in pairwise(line)]) for name in CLASSES
]


def _coverage(kind: int, glyph: Nuisance, size: int) -> np.ndarray:
    """How much of each pixel the stroke covers: float32 [size, size] in [0, 1]."""
    # in pixels from here on; the middle of the first pixel is 0
    from_x, from_y, to_x, to_y = _SEGMENTS[kind].T * (glyph.scale * size)
    left, top = glyph.x * size - 0.5, glyph.y * size - 0.5
    from_x, to_x = (left + (x - glyph.slant * y) for x, y in ((from_x, from_y), (to_x, to_y)))
    from_y, to_y = top + from_y, top + to_y
    half = glyph.stroke * size / 2

    def window(low, high):
        first = max(int(np.minimum(low, high).min() - half - 1), 0)
        pixels = np.arange(first, min(int(np.maximum(low, high).max() + half + 2), size))
        return slice(first, first + len(pixels)), pixels.astype(np.float32)

    columns, x = window(from_x, to_x)
    rows, y = window(from_y, to_y)
    along_x, along_y = to_x - from_x, to_y - from_y
    norm = along_x * along_x + along_y * along_y
    along_x, along_y, over_x, over_y, from_x, from_y = (
        a.astype(np.float32)[:, None]
        for a in (along_x, along_y, along_x / norm, along_y / norm, from_x, from_y)
    )
    x, y = x - from_x, y - from_y
    part = (x * over_x)[:, None, :] + (y * over_y)[:, :, None]
    part = np.minimum(np.maximum(part, 0), 1)
    dx = x[:, None, :] - part * along_x[..., None]
    dy = y[:, :, None] - part * along_y[..., None]
    distance = np.sqrt((dx * dx + dy * dy).min(0))
    # the part of a pixel's width that lies within the stroke
    covered = np.minimum(distance + 0.5, half) - np.maximum(distance - 0.5, -half)
    picture = np.zeros((size, size), np.float32)
    picture[rows, columns] = np.minimum(np.maximum(covered, 0), 1)
    return picture


# --- reading back --------------------------------------------------------------------------

_GRID = 20  # samples a side of a glyph in its normal form
_REACH = 2.3  # of the normal form, in deviations of the glyph's mass
_ENOUGH = 64  # pixels a side; what has as many is read at half its size
_BATCH = 256


class _Moments(NamedTuple):
    """Per picture: the middle of the stroke's mass in pixels, and how it spreads about it."""

    x: np.ndarray
    y: np.ndarray
    lean: np.ndarray  # x per y
    across: np.ndarray  # the deviation of x once the lean is taken off
    down: np.ndarray  # the deviation of y
    mass: np.ndarray


def read(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which class each picture shows: labels int32 [N] and scores float32 [N].

    `images` is uint8 [N, size, size, 1 or 3]. Each is compared, upright and at its normal scale,
    with drawings of all classes; its score is the best correlation, about 1 for a clean glyph
    and 0 for a picture without contrast. Raises UserError for arrays of another form.
    """
    labels, scores, *_ = _read(images)
    return labels, scores


def measure(images: np.ndarray) -> dict[str, np.ndarray]:
    """The nuisance as the pictures show it: arrays by the names of `Nuisance`, float32.

    `colour` and `background` are [N, channels], all others [N]; units and middle are those of
    `Nuisance`, so spreads and means compare with its ranges. What `read` scores low is no glyph
    and its figures mean nothing: leave it out. Raises UserError as `read` does.
    """
    labels, _, moments, colour, background = _read(images)
    size = _shrunk(images.shape[1])
    left, upright, right = (_leaning(size, slant) for slant in (SLANT[0], 0.0, SLANT[1]))
    scale = moments.down / upright.down[labels]  # in units of the examples'
    # leaning makes some strokes longer and heavier: a lean is not quite a slant
    slant = (SLANT[1] - SLANT[0]) / (left.lean - right.lean)[labels]
    slant = slant * (upright.lean[labels] - moments.lean)
    # the mass of a 4 does not lie in the middle of its box
    middle = (size - 1) / 2
    off_x, off_y = ((m[labels] - middle) * scale for m in (upright.x, upright.y))
    found = Nuisance(
        x=(moments.x - off_x + slant * off_y + 0.5) / size,
        y=(moments.y - off_y + 0.5) / size,
        slant=slant,
        stroke=moments.mass / upright.mass[labels] / scale * _EXAMPLE_STROKE,
        scale=scale * _EXAMPLE_SCALE,
        colour=colour,
        background=background,
    )
    return {name: value.astype(np.float32) for name, value in found._asdict().items()}


def _read(images):
    """Labels, scores, moments, colours and backgrounds."""
    if images.ndim != 4 or images.shape[1] != images.shape[2] or images.shape[3] not in (1, 3):
        raise UserError(f"glyphs are read from [N, size, size, 1 or 3], not {list(images.shape)}")
    if images.dtype != np.uint8 or images.shape[1] < SMALLEST:
        raise UserError(
            f"glyphs are read from uint8 of at least {SMALLEST} pixels a side, "
            f"not {images.dtype} of {images.shape[1]}"
        )
    parts = [_part(images[i : i + _BATCH]) for i in range(0, max(len(images), 1), _BATCH)]
    labels, scores, moments, colour, background = zip(*parts, strict=True)
    moments = _Moments(*(np.concatenate(part) for part in zip(*moments, strict=True)))
    labels, scores, colour, background = (
        np.concatenate(part) for part in (labels, scores, colour, background)
    )
    return labels, scores, moments, colour, background


def _shrunk(size):
    while size >= _ENOUGH and size % 2 == 0:
        size //= 2
    return size


def _part(images):
    pixels = images.astype(np.float32)
    while pixels.shape[1] > _shrunk(images.shape[1]):
        pixels = pixels[:, ::2] + pixels[:, 1::2]
        pixels = (pixels[:, :, ::2] + pixels[:, :, 1::2]) / 4
    stroke, colour, background = _separate(pixels / 255)
    moments = _moments(stroke)
    correlation = _normal(stroke, moments) @ _templates(pixels.shape[1]).T
    best = correlation.argmax(1)
    labels = (best // (correlation.shape[1] // len(CLASSES))).astype(np.int32)
    return labels, correlation.max(1).astype(np.float32), moments, colour, background


def _border(pictures):
    sides = (pictures[:, 0], pictures[:, -1], pictures[:, 1:-1, 0], pictures[:, 1:-1, -1])
    return np.concatenate(sides, 1)


def _separate(pixels):
    """Coverage [N, size, size], colour and background [N, channels] in [0, 1]."""
    n, size, _, channels = pixels.shape
    background = np.median(_border(pixels), 1)
    off = (pixels - background[:, None, None]).reshape(n, size * size, channels)
    strength = (off * off).sum(2)
    ink = np.einsum("np,npc->nc", strength, off)
    along = np.einsum("npc,nc->np", off, ink)
    # of anti-aliased strokes only the strongest pixels show the colour itself
    most = max(size * size // 100, 1)
    full = along >= np.partition(along, -most, 1)[:, -most:].min(1, keepdims=True)
    ink = np.einsum("np,npc->nc", full.astype(np.float32), off) / full.sum(1)[:, None]
    norm = (ink * ink).sum(1)[:, None]
    coverage = np.einsum("npc,nc->np", off, ink) / np.maximum(norm, 1e-6)
    return coverage.reshape(n, size, size), background + ink, background


def _moments(coverage):
    size = coverage.shape[1]
    # far from the middle noise weighs; no glyph reaches the border, so what it shows is noise
    noise = np.clip(3 * _border(coverage).std(1), 0.1, 0.5)[:, None, None]
    coverage = np.clip((coverage - noise) / (1 - noise), 0, 1)
    at = np.arange(size, dtype=np.float32)
    columns, rows = coverage.sum(1), coverage.sum(2)
    mass = rows.sum(1)
    total = np.maximum(mass, 1e-6)
    x, y = columns @ at / total, rows @ at / total
    dx, dy = at - x[:, None], at - y[:, None]
    xx = (columns * dx * dx).sum(1) / total
    yy = np.maximum((rows * dy * dy).sum(1) / total, 0.01)
    xy = np.einsum("nij,nj,ni->n", coverage, dx, dy, optimize=True) / total
    across = np.sqrt(np.maximum(xx - xy * xy / yy, 0.01))
    return _Moments(x, y, xy / yy, across, np.sqrt(yy), mass)


def _normal(coverage, moments):
    """The glyphs upright, at one place and scale: [N, samples], of mean 0 and length 1."""
    n, size, _ = coverage.shape
    spread = np.sqrt(moments.across * moments.across + moments.down * moments.down)
    at = np.linspace(-_REACH, _REACH, _GRID, dtype=np.float32) / np.float32(np.sqrt(2))
    y = (at * spread[:, None])[:, :, None]
    x = moments.x[:, None, None] + (at * spread[:, None])[:, None, :]
    x = x + moments.lean[:, None, None] * y
    y = np.broadcast_to(y + moments.y[:, None, None], x.shape)
    # a rim of nothing, for samples outside the picture
    padded = np.pad(coverage, ((0, 0), (1, 1), (1, 1)))
    x, y = (np.clip(a + 1, 0, size + 0.99) for a in (x, y))
    column, row = np.floor(x), np.floor(y)
    right, down = x - column, y - row
    pixel = (np.arange(n)[:, None, None] * (size + 2) + row.astype(np.intp)) * (size + 2)
    pixel += column.astype(np.intp)
    flat = padded.reshape(-1)
    above = flat.take(pixel) * (1 - right) + flat.take(pixel + 1) * right
    pixel += size + 2
    below = flat.take(pixel) * (1 - right) + flat.take(pixel + 1) * right
    normal = (above * (1 - down) + below * down).reshape(n, _GRID * _GRID)
    normal = normal - normal.mean(1, keepdims=True)
    return normal / np.maximum(np.sqrt((normal * normal).sum(1, keepdims=True)), 1e-6)


_EXAMPLE_SCALE, _EXAMPLE_STROKE = sum(SCALE) / 2, sum(STROKE) / 2


def _examples(size, slants, strokes):
    """Coverage of drawings in the middle of the picture, class by class."""
    return np.stack(
        [
            _coverage(kind, Nuisance(0.5, 0.5, slant, stroke, _EXAMPLE_SCALE, (), ()), size)
            for kind in range(len(CLASSES))
            for slant in slants
            for stroke in strokes
        ]
    )


@lru_cache(64)
def _leaning(size, slant):
    """The moments of an example of each class."""
    return _moments(_examples(size, (slant,), (_EXAMPLE_STROKE,)))


@lru_cache(16)
def _templates(size):
    """Normal forms [drawings, samples], class by class, as many of each."""
    slants, strokes = ((low, (low + high) / 2, high) for low, high in (SLANT, STROKE))
    examples = _examples(size, slants, strokes)
    return _normal(examples, _moments(examples))

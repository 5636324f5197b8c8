"""The built-in world: landscapes that exist in summer and in winter, so that truth is known.

`draw(index, "summer", size)` and `draw(index, "winter", size)` show the same place. Training
sets take disjoint index ranges (unpaired), the test set takes both seasons of indices that no
training set holds, and a translation is scored against the true other season.

How a picture comes about:

1. `compose` draws the geometry of a place from `SeedSequence([world, index])`, in units of the
   picture's side (x to the right, y down). It knows neither season nor size.
2. `_layers` turns geometry into painter's layers at a given size: a material, a window, a
   coverage (anti-aliased, analytic) and a *tone* in [0, 1] (light, height, ripples, which side
   is up). It does not know the season either.
3. A season is a table: for every material a ramp tone -> (red, green, blue, opacity). Snow on
   the upper side of a branch is a ramp that ends in white; a bare crown is a ramp that is
   partly transparent. `labels` paints materials instead of colours.

What one season shows, the other therefore shows as well, and there is no hidden randomness:
the translation has an answer. But it is no colour map: blue sky turns to dusk while water of
the same blue turns to pale ice, green meadows turn white while green crowns turn to twigs, red
roofs disappear while brown barns stay.

Only +, -, *, /, sqrt, floor and comparisons, each a ufunc of its own, touch the pixels, and
only `Generator.random` is drawn from: all exact in IEEE arithmetic, so the pictures are the
same bits on every machine (sin, exp and matrix products are not).
"""

from collections.abc import Iterator
from functools import cache
from typing import NamedTuple

import numpy as np

from jaxgan.errors import UserError

SEASONS = ("summer", "winter")
SMALLEST = 16
BANK = 0.015  # so much of a hill shows above the lake before it

# material: (summer stops, winter stops), evenly spaced over the tone, dark to light. A stop is
# (red, green, blue) or (red, green, blue, opacity in percent). What defeats a colour map lies in
# the large areas (sky against water, meadow against crowns and forest). Small things keep about
# their brightness: unpaired training has no reason to turn a bright path into a dark one.
_RAMPS = {
    # the tone of the sky: 0 at the horizon, 1 at the zenith
    "sky": (
        [(205, 232, 246), (140, 200, 243), (88, 164, 235), (58, 130, 222)],
        [(255, 220, 150), (242, 144, 130), (140, 90, 152), (52, 58, 126)],
    ),
    "glow": (
        [(255, 250, 214, 0), (255, 250, 214, 55)],
        [(255, 176, 128, 0), (255, 160, 110, 75)],
    ),
    "sun": ([(255, 236, 130), (255, 246, 180)], [(232, 74, 52), (246, 108, 66)]),
    "cloud": (
        [(196, 216, 236), (238, 244, 250), (255, 255, 255)],
        [(176, 130, 160), (222, 176, 188), (250, 214, 206)],
    ),
    "rock": (
        [(92, 98, 128), (118, 122, 148), (176, 170, 178), (204, 198, 196)],
        [(92, 94, 136), (134, 136, 180), (226, 208, 220), (244, 230, 234)],
    ),
    "forest": (
        [(40, 92, 50), (64, 122, 50), (96, 150, 64)],
        [(62, 62, 92), (104, 100, 128), (186, 186, 206)],
    ),
    "meadow": (
        [(54, 114, 40), (92, 152, 48), (146, 190, 72)],
        [(172, 192, 232), (216, 226, 245), (240, 243, 251)],
    ),
    "wheat": (
        [(196, 146, 52), (230, 188, 82), (250, 220, 128)],
        [(178, 144, 110), (212, 186, 150), (236, 226, 214)],
    ),
    "water": (
        [(40, 104, 186), (70, 144, 218), (132, 194, 238)],
        [(140, 200, 206), (178, 224, 224), (214, 240, 238)],
    ),
    "path": (
        [(196, 160, 110), (228, 200, 150)],
        [(168, 142, 134), (206, 184, 174)],
    ),
    "wall": ([(214, 178, 120), (248, 222, 160)], [(184, 146, 112), (228, 194, 150)]),
    "barn": ([(112, 74, 48), (150, 104, 66)], [(94, 66, 56), (136, 98, 76)]),
    "roof": (
        [(150, 62, 46), (202, 96, 70), (218, 120, 92)],
        [(128, 72, 68), (222, 228, 244), (240, 244, 252)],
    ),
    "window": ([(48, 74, 104), (84, 120, 150)], [(255, 196, 84), (255, 226, 130)]),
    "wood": (
        [(104, 72, 50), (142, 106, 74), (172, 136, 98)],
        [(98, 72, 64), (140, 114, 104), (232, 236, 246)],
    ),
    "trunk": ([(78, 54, 40), (124, 90, 64)], [(56, 42, 48), (98, 80, 80)]),
    "crown": (
        [(48, 110, 30), (96, 156, 40), (166, 204, 70)],
        [(74, 52, 58, 92), (104, 78, 80, 84), (134, 104, 102, 72), (160, 130, 126, 40)],
    ),
    "conifer": (
        [(14, 60, 46), (26, 84, 56), (58, 120, 74)],
        [(28, 64, 62), (60, 98, 96), (206, 220, 230)],
    ),
    "shadow": ([(24, 66, 40, 0), (24, 66, 40, 35)], [(98, 122, 186, 0), (98, 122, 186, 40)]),
    "flower": (
        [(226, 52, 48), (250, 214, 60), (250, 250, 244)],
        [(150, 116, 100), (166, 136, 116), (190, 166, 150)],
    ),
    "stone": (
        [(104, 104, 108), (140, 140, 140), (176, 174, 168)],
        [(84, 86, 104), (122, 124, 142), (246, 248, 254)],
    ),
}
MATERIALS = tuple(_RAMPS)


def draw(index: int, season: str, size: int, world: int = 0) -> np.ndarray:
    """Scene `index` of `world` in a season: uint8 [size, size, 3], the same bits everywhere.

    Raises UserError for an unknown season, a size under 16 or a negative index or world.
    """
    ramps = _ramps(_checked_season(season))
    picture = np.zeros((size, size, 3), np.float32)
    for material, rows, columns, coverage, tone in _layers(_checked(index, size, world), size):
        colours, opacity = ramps[material]
        at = (tone * 255).astype(np.uint8)
        if opacity is not None:
            coverage = coverage * opacity.take(at)
        window = picture[rows, columns]
        window += coverage[..., None] * (colours.take(at, axis=0) - window)
    return (picture + 0.5).astype(np.uint8)


def labels(index: int, size: int, world: int = 0) -> np.ndarray:
    """What lies where: uint8 [size, size], an index into `MATERIALS`, the same in all seasons.

    Glow and shadow are light, not matter, and appear in no label map. Raises UserError as
    `draw` does.
    """
    picture = np.zeros((size, size), np.uint8)
    for material, rows, columns, coverage, _ in _layers(_checked(index, size, world), size):
        if material not in ("glow", "shadow"):
            picture[rows, columns][coverage >= 0.5] = MATERIALS.index(material)
    return picture


# The colours of label maps. Most of what lies beside each other differs by 60 or more in a channel.
_PALETTE = {
    "sky": (70, 130, 180),
    "glow": (70, 130, 180),
    "sun": (255, 255, 0),
    "cloud": (220, 220, 220),
    "rock": (128, 64, 128),
    "forest": (0, 70, 0),
    "meadow": (107, 190, 35),
    "wheat": (250, 170, 30),
    "water": (0, 0, 230),
    "path": (190, 153, 153),
    "wall": (255, 255, 255),
    "barn": (119, 11, 32),
    "roof": (220, 20, 60),
    "window": (0, 255, 255),
    "wood": (128, 96, 0),
    "trunk": (70, 40, 20),
    "crown": (0, 160, 80),
    "conifer": (0, 110, 110),
    "shadow": (70, 130, 180),
    "flower": (255, 0, 255),
    "stone": (70, 70, 70),
}
PALETTE = np.array([_PALETTE[material] for material in MATERIALS], np.uint8)


class LabelMaps:
    """Label maps as pictures: the scenes of `Scenes`, each material in its colour of `PALETTE`.

    Indexing gives uint8 [size, size, 3]. Raises UserError as `Scenes` does.
    """

    def __init__(self, size: int, first: int, count: int, world: int = 0):
        self._scenes = Scenes("summer", size, first, count, world)

    def __len__(self) -> int:
        return len(self._scenes)

    def __getitem__(self, i: int) -> np.ndarray:
        s = self._scenes
        return PALETTE[labels(s.index(i), s.size, s.world)]


class Scenes:
    """A random-access source of `count` scenes from index `first` on, all in one season.

    Indexing gives uint8 [size, size, 3]. Raises UserError for an unknown season, a size under
    16, an empty range or a negative `first` or `world`.
    """

    def __init__(self, season: str, size: int, first: int, count: int, world: int = 0):
        if count < 1:
            raise UserError(f"a source of {count} scenes is empty; give it at least 1")
        _checked(first, size, world)
        self.season, self.size = _checked_season(season), size
        self.first, self.count, self.world = first, count, world

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, i: int) -> np.ndarray:
        return draw(self.index(i), self.season, self.size, self.world)

    def index(self, i: int) -> int:
        """The world's number of the i-th scene here; raises IndexError where there is none."""
        if not -self.count <= i < self.count:
            raise IndexError(f"scene {i} of {self.count}")
        return self.first + int(i) % self.count


def _checked_season(season: str) -> str:
    if season not in SEASONS:
        raise UserError(f"there is no season {season!r}; scenes have {' and '.join(SEASONS)}")
    return season


def _checked(index: int, size: int, world: int) -> "Scene":
    if size < SMALLEST:
        raise UserError(f"a scene has at least {SMALLEST} pixels a side, not {size}")
    if index < 0 or world < 0:
        raise UserError(f"scenes and worlds count from 0: no scene {index} of world {world}")
    return compose(index, world)


@cache
def _ramps(season: str) -> dict[str, tuple[np.ndarray, np.ndarray | None]]:
    """For every material 256 steps of tone: colours [256, 3] in [0, 255], opacity [256] or None."""
    tables = {}
    for material, seasons in _RAMPS.items():
        stops = [(*stop, 100)[:4] for stop in seasons[SEASONS.index(season)]]
        stops = np.array(stops, np.float32) / np.array([1, 1, 1, 100], np.float32)
        at = np.arange(256, dtype=np.float32) * ((len(stops) - 1) / 255)
        low = np.minimum(at.astype(int), len(stops) - 2)
        part = at[:, None] - low[:, None].astype(np.float32)
        table = stops[low] + part * (stops[low + 1] - stops[low])
        opacity = table[:, 3].copy()
        tables[material] = (table[:, :3].copy(), None if (opacity == 1).all() else opacity)
    return tables


# --- geometry: neither season nor size -----------------------------------------------------


class Thing(NamedTuple):
    """Something that stands on the ground at (x, y), `height` tall."""

    kind: str  # crown, conifer, house, barn, stone
    x: float
    y: float
    height: float
    shape: tuple[float, ...]  # numbers in [0, 1) that make it an individual


class Hill(NamedTuple):
    level: float  # where its crest lies on average
    swing: float  # how far the crest goes up and down
    frequency: float
    table: int  # which row of the noise tables
    field: tuple[float, ...] | None  # left, right, near edge, skew of a wheat field
    things: tuple[Thing, ...]


class Scene(NamedTuple):
    light: float  # -1: the sun stands on the left, 1: on the right
    horizon: float
    sun: tuple[float, float, float]
    clouds: tuple[tuple[float, ...], ...]  # x, y, width, and how tall its puffs are
    peaks: tuple[tuple[float, ...], ...]  # x, height, steepness; the tallest stands in the back
    hills: tuple[Hill, ...]  # far to near
    lake: tuple[float, float, float, float] | None  # x, y, half-width, half-height
    path: tuple[float, float, float, float] | None  # start: x, below the crest; foot: x; bend
    fence: tuple[float, float, float] | None  # below the crest, left, right
    flowers: tuple[tuple[float, float, float], ...]  # x, distance below the crest, tone
    noise: np.ndarray  # [32, 32] in [0, 1): the lattice that all noise interpolates


def compose(index: int, world: int = 0) -> Scene:
    """The geometry of a scene, in units of the picture's side; a pure function."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([world, index])))
    noise = rng.random((32, 32)).astype(np.float32)
    numbers = iter(rng.random(1024).tolist())

    def between(low: float, high: float) -> float:
        return low + (high - low) * next(numbers)

    def chance(probability: float) -> bool:
        return next(numbers) < probability

    horizon = between(0.40, 0.48)
    sun = (between(0.12, 0.88), between(0.09, 0.22), between(0.045, 0.06))
    clouds = tuple(
        (
            *(between(-0.05, 1.05), between(0.06, 0.30), between(0.17, 0.26)),
            *(next(numbers) for _ in range(5)),
        )
        for _ in range(1 + int(between(0, 3)))
    )
    peaks = [
        (between(-0.1, 1.1), between(0.12, 0.25), between(0.5, 0.9))
        for _ in range(2 + int(between(0, 2)))
    ]
    lake = None
    if chance(0.85):
        y = horizon + between(0.20, 0.25)
        lake = (between(0.1, 0.9), y, between(0.6, 1.2), between(0.08, 0.11))

    def hill(level, swing, frequency, field=None):
        return Hill(level, swing, frequency, int(between(0, 32)), field, ())

    field = None
    if chance(0.7):
        left = between(-0.1, 0.6)
        field = (left, left + between(0.35, 0.6), between(0.06, 0.12), between(-0.5, 0.5))
    far = hill(horizon - between(0.0, 0.04), 0.10, between(2.0, 3.0))
    middle = hill(horizon + between(0.05, 0.09), 0.08, between(1.5, 2.5), field)
    down = between(0.34, 0.40) if lake else between(0.2, 0.28)
    near = hill(horizon + down, 0.10, between(1.2, 2.0))
    homestead = between(0.15, 0.85)
    near_house = chance(0.45)

    def stand(kinds, count, low, high, depth):
        # y counts from the crest until `settle` knows where that is
        return [
            Thing(
                kinds[int(between(0, len(kinds)))],
                x=between(0.0, 1.0),
                y=between(0.005, depth),
                height=between(low, high),
                shape=tuple(next(numbers) for _ in range(8)),
            )
            for _ in range(count)
        ]

    woods = ("crown", "conifer")
    small = stand(woods, int(between(0, 4)), 0.13, 0.19, 0.05)
    large = stand(woods, 1 + int(between(0, 3)), 0.34, 0.48, 0.10)
    large += stand(("stone",), int(between(0, 2)), 0.04, 0.07, 0.20)
    (house,) = stand(("house", "house", "barn"), 1, 0.19, 0.24, 0.06)
    (cottage,) = stand(("house", "barn"), 1, 0.11, 0.14, 0.05)
    if near_house:
        large = [thing for thing in large if abs(thing.x - homestead) > 0.17]
        large.append(house._replace(x=homestead))
    elif chance(0.85):
        small = [thing for thing in small if abs(thing.x - homestead) > 0.10]
        small.append(cottage._replace(x=homestead))

    def settle(hill, things, shore=1.0):
        crests = _crest(hill, noise, np.array([thing.x for thing in things])).tolist()
        things = [
            thing._replace(y=crest + min(thing.y, max(shore - crest, BANK) - 0.005))
            for thing, crest in zip(things, crests, strict=True)
        ]
        return hill._replace(things=tuple(sorted(things, key=lambda thing: thing.y)))

    light = -1.0 if sun[0] < 0.5 else 1.0
    path = None
    if chance(0.6):
        # from the door, or over the crest
        door = homestead + light * _length(house) / 2
        start, down = (door, house.y) if near_house else (between(0.2, 0.8), 0.0)
        path = (start, down, between(0.2, 0.8), between(-1, 1))
    fence = (between(0.10, 0.16), between(0.0, 0.5), between(0.6, 1.0)) if chance(0.25) else None
    return Scene(
        light=light,
        horizon=horizon,
        sun=sun,
        clouds=clouds,
        peaks=tuple(sorted(peaks, key=lambda peak: -peak[1])),
        hills=(far, settle(middle, small, lake[1] - lake[3] if lake else 1.0), settle(near, large)),
        lake=lake,
        path=path,
        fence=fence,
        flowers=tuple((between(0, 1), between(0.06, 0.4), between(0, 1)) for _ in range(6)),
        noise=noise,
    )


def _length(house: Thing) -> float:
    """Of a house's long side."""
    return house.height * (0.75 + 0.3 * house.shape[1])


def _smooth(part):
    return part * part * (3 - 2 * part)


def _wave(row: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Value noise along a line, in [0, 1): `row` is periodic, one value per unit of x."""
    low = np.floor(x)
    part = _smooth(x - low)
    low = low.astype(int)
    left, right = row[low % len(row)], row[(low + 1) % len(row)]
    return left + part * (right - left)


def _field(table: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Value noise on a grid, in [0, 1): [len(y), len(x)]."""
    low_y, low_x = np.floor(y), np.floor(x)
    part_y, part_x = _smooth(y - low_y)[:, None], _smooth(x - low_x)
    low_y, low_x = low_y.astype(int), low_x.astype(int)
    height, width = table.shape
    above, below = table[low_y % height], table[(low_y + 1) % height]
    rows = above + part_y * (below - above)
    left, right = rows[:, low_x % width], rows[:, (low_x + 1) % width]
    return left + part_x * (right - left)


def _crest(hill: Hill, noise: np.ndarray, x: np.ndarray) -> np.ndarray:
    row = noise[hill.table]
    at = x * hill.frequency + 3
    return hill.level + hill.swing * (_wave(row, at) - 0.5 + 0.25 * (_wave(row, 2.3 * at) - 0.5))


# --- layers: geometry at a size, no season -------------------------------------------------


class Layer(NamedTuple):
    material: str
    rows: slice
    columns: slice
    coverage: np.ndarray  # [rows, columns] in [0, 1]
    tone: np.ndarray  # [rows, columns] in [0, 1]


def _unit(value: np.ndarray) -> np.ndarray:
    return np.minimum(np.maximum(value, 0), 1)


class _Grid:
    """Pixel centres in units of the picture's side, and noise as fine as the size can show."""

    def __init__(self, size: int, noise: np.ndarray):
        self.size = size
        self.at = (np.arange(size, dtype=np.float32) + 0.5) / np.float32(size)
        self.detail = np.zeros((size, size), np.float32)  # about zero, mostly within +-0.5
        for frequency, weight in ((12.0, 0.3), (34.0, 0.6), (83.0, 0.6)):
            weight *= self.visible(frequency)
            if weight > 0:
                at = self.at * frequency
                self.detail += weight * (_field(noise, at, at) - 0.5)

    def visible(self, frequency: float) -> float:
        """How much of a wave of so many periods a side may show: under 2 pixels it aliases."""
        return min(max(self.size / frequency / 2 - 1, 0.0), 1.0)

    def window(self, left: float, top: float, right: float, bottom: float):
        """The box as slices, with x [1, w] and y [h, 1] of its pixels; None outside the picture."""
        size = self.size
        x0, x1 = max(int(left * size) - 1, 0), min(int(right * size) + 2, size)
        y0, y1 = max(int(top * size) - 1, 0), min(int(bottom * size) + 2, size)
        if x0 >= x1 or y0 >= y1:
            return None
        return slice(y0, y1), slice(x0, x1), self.at[None, x0:x1], self.at[y0:y1, None]

    def inside(self, distance: np.ndarray) -> np.ndarray:
        """Coverage of a pixel whose centre lies `distance` inside an edge, 1.7 pixels wide."""
        return _unit(distance * (self.size / 1.7) + 0.5)


def _layers(scene: Scene, size: int) -> Iterator[Layer]:
    """All layers, back to front."""
    grid = _Grid(size, scene.noise)
    far, middle, near = scene.hills
    yield from _sky(scene, grid)
    yield from _mountains(scene, grid)
    yield from _forest(scene, grid, far)
    yield from _meadow(scene, grid, middle)
    for thing in middle.things:
        yield from _THINGS[thing.kind](scene, grid, thing)
    if scene.lake:
        yield from _lake(scene, grid, middle)
    yield from _meadow(scene, grid, near)
    if scene.path:
        yield from _path(scene, grid, near)
    yield from _flowers(scene, grid, near)
    for thing in near.things:
        yield from _THINGS[thing.kind](scene, grid, thing)
    if scene.fence:
        yield from _fence(scene, grid, near)


def _sky(scene: Scene, grid: _Grid) -> Iterator[Layer]:
    rows, columns, x, y = grid.window(0, 0, 1, scene.horizon + 0.12)
    everywhere = np.ones((y.shape[0], x.shape[1]), np.float32)
    height = (scene.horizon + 0.02 - y) / scene.horizon
    yield Layer("sky", rows, columns, everywhere, _unit(height) * everywhere)
    sun_x, sun_y, radius = scene.sun
    distance = _distance(x - sun_x, y - sun_y)
    nearness = _unit(1 - distance / (radius * 5))
    yield Layer("glow", rows, columns, everywhere, nearness * nearness)
    tone = _unit((sun_y + radius - y) / (2 * radius))
    yield Layer("sun", rows, columns, grid.inside(radius - distance), tone * everywhere)
    for cloud_x, cloud_y, width, *puffs in scene.clouds:
        tall, half = width * 0.42, width * 0.8
        box = grid.window(cloud_x - half, cloud_y - tall, cloud_x + half, cloud_y + tall * 0.2)
        if box is None:
            continue
        rows, columns, x, y = box
        inside = None
        for i, puff in enumerate(puffs):
            across = i / (len(puffs) - 1) - 0.5
            r = tall * (0.42 + 0.45 * puff) * (1.15 - 1.2 * abs(across))
            d = r - _distance(x - (cloud_x + across * width * 1.15), y - (cloud_y - r * 0.35))
            inside = d if inside is None else np.maximum(inside, d)
        up = cloud_y + tall * 0.12 - y
        # clouds have soft edges: a hundredth of the picture wide where a pixel is finer
        softness = min(1.0, 100 / grid.size)
        coverage = grid.inside(np.minimum(inside, up) * softness)
        tone = up / (tall * 1.1) + grid.detail[rows, columns] * 0.35
        yield Layer("cloud", rows, columns, coverage, _unit(tone))


def _mountains(scene: Scene, grid: _Grid) -> Iterator[Layer]:
    foot = scene.horizon + 0.02
    jags = 0.03 * _wave(scene.noise[5], grid.at * 9) + 0.015 * _wave(scene.noise[6], grid.at * 23)
    # a fold runs down from every peak in zigzag; one side of it has the light
    folds = 0.10 * _wave(scene.noise[7], grid.at * 16) + 0.04 * _wave(scene.noise[8], grid.at * 41)
    for peak_x, tall, steep in scene.peaks:
        half = (tall + 0.1) / steep
        box = grid.window(peak_x - half, foot - tall - 0.06, peak_x + half, scene.horizon + 0.1)
        if box is None:
            continue
        rows, columns, x, y = box
        crest = foot - tall - jags[columns] + steep * np.abs(x - peak_x)
        coverage = grid.inside((y - crest) * 0.75)
        fold = (x - peak_x + folds[rows, None] - 0.07) * scene.light
        lit = _unit(fold * min(grid.size, 90) + 0.5)
        height = (foot - y) * 2.2
        tone = 0.12 + 0.42 * lit + height * (0.3 + 0.5 * lit) + grid.detail[rows, columns] * 0.35
        yield Layer("rock", rows, columns, coverage, _unit(tone))


def _forest(scene: Scene, grid: _Grid, hill: Hill) -> Iterator[Layer]:
    crest = _crest(hill, scene.noise, grid.at)
    treetops = np.abs(_wave(scene.noise[9], grid.at * 60) - 0.5) - 0.25
    crest = crest - 0.024 * grid.visible(30) * treetops
    rows, columns, _, y = grid.window(0, float(crest.min()), 1, scene.horizon + 0.2)
    below = y - crest
    tone = 0.42 - below * 2.5 + grid.detail[rows, columns]
    yield Layer("forest", rows, columns, grid.inside(below), _unit(tone))


def _meadow(scene: Scene, grid: _Grid, hill: Hill) -> Iterator[Layer]:
    crest = _crest(hill, scene.noise, grid.at)
    rows, columns, x, y = grid.window(0, float(crest.min()), 1, 1)
    below, detail = y - crest, grid.detail[rows, columns]
    coverage = grid.inside(below)
    # the crest catches the light; light and dark bands get wider towards the viewer
    depth = np.sqrt(np.maximum(grid.at[rows] - (hill.level - 0.06), 0))
    bands = _field(scene.noise[::-1], grid.at * 2.5, depth * 14) - 0.5
    tone = 0.30 + 0.35 / (1 + np.maximum(below, 0) * 14) + bands * 0.5 + detail * 0.25
    yield Layer("meadow", rows, columns, coverage, _unit(tone))
    if hill.field:
        left, right, long, skew = hill.field
        # the furrows run towards a vanishing point above the crest
        vanish = hill.level - 0.12
        furrow = (x - ((left + right) / 2 + skew * 0.1)) / (y - vanish) * 0.2
        sides = grid.inside(((right - left) / 2 - np.abs(furrow)) * 0.8)
        ends = grid.inside(np.minimum(below - 0.012, long + 0.012 - below))
        stripes = furrow * 26
        stripes = np.abs(stripes - np.floor(stripes) - 0.5) - 0.25
        period = (y - vanish) * (grid.size / 26 / 0.2)
        tone = 0.45 + stripes * _unit(period / 3 - 0.6) * 1.8 + detail * 0.5
        yield Layer("wheat", rows, columns, sides * ends * coverage, _unit(tone))


def _lake(scene: Scene, grid: _Grid, bank: Hill) -> Iterator[Layer]:
    lake_x, lake_y, half, reach = scene.lake
    far = lake_y - reach
    rows, columns, x, y = grid.window(lake_x - half, far - 0.02, lake_x + half, lake_y + reach * 3)
    across = (x - lake_x) / half
    bend = np.sqrt(np.maximum(1 - across * across, 0)) * reach
    shore = (_wave(scene.noise[11], x * 7) - 0.5) * 0.02
    land = _crest(bank, scene.noise, x) + BANK
    inside = np.minimum(y - np.maximum(lake_y - bend + shore, land), lake_y + bend * 3 - y)
    depth = (y - far) / (reach * 3)
    waves = np.sqrt(np.maximum(depth[:, 0], 0)) * 16
    ripples = _field(scene.noise.T, grid.at[columns] * 5, waves) - 0.5
    from_sun = (x - scene.sun[0]) * 9
    tone = 0.55 - 0.35 * depth + ripples * 0.7 + 0.3 / (1 + from_sun * from_sun)
    yield Layer("water", rows, columns, grid.inside(inside), _unit(tone))


def _path(scene: Scene, grid: _Grid, hill: Hill) -> Iterator[Layer]:
    start, down, foot, bend = scene.path
    top = float(_crest(hill, scene.noise, np.array([start]))[0]) + down
    rows, columns, x, y = grid.window(0, top, 1, 1)
    depth = (y - top) / (1 - top)
    middle = start + (foot - start) * depth * depth + bend * depth * (1 - depth)
    half = 0.018 + 0.075 * np.maximum(depth, 0)
    edge = half - np.abs(x - middle)
    coverage = grid.inside(edge * 0.8) * grid.inside(y - top)
    tone = 0.3 + edge / half * 0.4 + grid.detail[rows, columns] * 0.8
    yield Layer("path", rows, columns, coverage, _unit(tone))


def _flowers(scene: Scene, grid: _Grid, hill: Hill) -> Iterator[Layer]:
    crests = _crest(hill, scene.noise, np.array([x for x, _, _ in scene.flowers])).tolist()
    for (x0, down, colour), top in zip(scene.flowers, crests, strict=True):
        y0, r = top + down, 0.004 + 0.02 * down
        box = grid.window(x0 - r, y0 - r, x0 + r, y0 + r)
        if box:
            rows, columns, x, y = box
            coverage = grid.inside(r - _distance(x - x0, y - y0)) * min(1.0, r * grid.size)
            yield Layer("flower", rows, columns, coverage, np.full_like(coverage, colour))


def _fence(scene: Scene, grid: _Grid, hill: Hill) -> Iterator[Layer]:
    down, left, right = scene.fence
    ground = _crest(hill, scene.noise, grid.at) + (down + 0.03)
    box = grid.window(left, float(ground.min()) - 0.09, right, float(ground.max()))
    if box is None:
        return
    rows, columns, x, y = box
    above = ground[columns] - y
    steps = x * 11
    offset = np.abs(steps - np.floor(steps) - 0.5) / 11
    span = grid.inside(np.minimum(x - left, right - x))
    post = grid.inside(0.009 - offset) * grid.inside(np.minimum(above, 0.085 - above)) * span
    yield Layer("wood", rows, columns, post, _unit(above * 19 - 0.75))
    for height in (0.03, 0.062):
        up = (above - height) / 0.007  # -1 at the rail's lower edge, 1 at its upper
        rail = grid.inside((1 - np.abs(up)) * 0.007) * span
        yield Layer("wood", rows, columns, rail, _unit(0.4 + 0.6 * up))


# --- things that stand on the ground -------------------------------------------------------


def _distance(dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
    return np.sqrt(dx * dx + dy * dy)


def _box(grid, material, left, top, right, bottom, tone) -> Iterator[Layer]:
    box = grid.window(left, top, right, bottom)
    if box:
        rows, columns, x, y = box
        across = grid.inside(x - left) * grid.inside(right - x)
        coverage = across * (grid.inside(y - top) * grid.inside(bottom - y))
        yield Layer(material, rows, columns, coverage, np.full_like(coverage, tone))


def _shadow(scene: Scene, grid: _Grid, x0: float, y0: float, half: float) -> Iterator[Layer]:
    """On the ground, to the side that the light does not come from."""
    x0, wide, tall = x0 - scene.light * half * 0.5, half * 1.4, half * 0.35
    box = grid.window(x0 - wide, y0 - tall, x0 + wide, y0 + tall)
    if box:
        rows, columns, x, y = box
        dx, dy = (x - x0) / wide, (y - y0) / tall
        tone = _unit((1 - dx * dx - dy * dy) * 2.5)
        yield Layer("shadow", rows, columns, np.ones_like(tone), tone)


def _conifer(scene: Scene, grid: _Grid, thing: Thing) -> Iterator[Layer]:
    x0, y0, tall = thing.x, thing.y, thing.height
    half = tall * (0.24 + 0.06 * thing.shape[0])
    yield from _shadow(scene, grid, x0, y0, half)
    yield from _box(grid, "trunk", x0 - tall * 0.035, y0 - tall * 0.16, x0 + tall * 0.035, y0, 0.4)
    box = grid.window(x0 - half, y0 - tall, x0 + half, y0 - tall * 0.08)
    if box is None:
        return
    rows, columns, x, y = box
    dx = x - x0
    down = (y - (y0 - tall)) / (tall * 0.90)  # 0 at the tip, 1 at the hem
    tier = np.maximum(down, 0) * 3
    tier = tier - np.floor(tier)
    reach = half * (0.62 * down + 0.26 * tier + 0.10)
    coverage = grid.inside((reach - np.abs(dx)) * 0.9)
    coverage = coverage * grid.inside(np.minimum(down, 1 - down) * tall)
    # branches hang: the upper side of a tier, where snow lies, sags towards its ends
    upper = np.abs(dx) / half * 0.35 - tier
    side = dx * (scene.light / half)
    tone = 0.85 + upper * 1.1 + side * 0.3 + grid.detail[rows, columns] * 0.5
    yield Layer("conifer", rows, columns, coverage, _unit(tone))


# trunk, limbs and twigs: foot (x, y), tip (x, y) and thickness, in units of the tree's height
_LIMBS = np.array(
    [
        (0.00, 0.00, 0.00, -0.62, 0.040),
        (0.00, -0.34, -0.26, -0.64, 0.026),
        (0.00, -0.38, 0.25, -0.66, 0.026),
        (0.00, -0.50, -0.13, -0.88, 0.024),
        (0.00, -0.52, 0.14, -0.90, 0.022),
        (-0.13, -0.49, -0.28, -0.50, 0.014),
        (-0.15, -0.51, -0.18, -0.74, 0.014),
        (0.13, -0.52, 0.29, -0.54, 0.014),
        (0.14, -0.54, 0.21, -0.76, 0.014),
        (-0.07, -0.69, -0.02, -0.94, 0.012),
        (0.07, -0.71, 0.04, -0.80, 0.012),
    ],
    np.float32,
)[:, :, None, None]
# the crown's puffs, around its heart: (x, y, radius) in units of its half-width
_PUFFS = np.array(
    [
        (0.0, 0.05, 0.78),
        (-0.50, 0.22, 0.52),
        (0.50, 0.20, 0.52),
        (-0.25, -0.42, 0.56),
        (0.30, -0.38, 0.56),
    ],
    np.float32,
)[:, :, None, None]


def _deciduous(scene: Scene, grid: _Grid, thing: Thing) -> Iterator[Layer]:
    x0, y0, tall = thing.x, thing.y, thing.height
    half = tall * 0.34
    yield from _shadow(scene, grid, x0, y0, half)
    box = grid.window(x0 - half * 1.25, y0 - tall * 1.05, x0 + half * 1.25, y0)
    if box is None:
        return
    rows, columns, x, y = box
    x, y = x - x0, y - y0
    side = x * (scene.light / half)
    # distance to a segment; thinner towards its tip
    foot_x, foot_y, tip_x, tip_y, thick = (tall * _LIMBS[:, i] for i in range(5))
    dx, dy = tip_x - foot_x, tip_y - foot_y
    along = _unit(((x - foot_x) * dx + (y - foot_y) * dy) / (dx * dx + dy * dy))
    wood = _distance(x - foot_x - along * dx, y - foot_y - along * dy)
    wood = (thick * (1 - 0.6 * along) - wood).max(0)
    yield Layer("trunk", rows, columns, grid.inside(wood), _unit(0.4 + side * 2 + 0 * y))
    heart = -0.64 * tall
    sizes = np.array(thing.shape[: len(_PUFFS)], np.float32)[:, None, None]
    r = half * _PUFFS[:, 2] * (0.85 + 0.3 * sizes)
    dx, dy = x - half * _PUFFS[:, 0], y - heart - half * _PUFFS[:, 1]
    within = r - _distance(dx, dy)
    light = (dx * (scene.light * 0.5) - dy) / r
    # the light on a puff shows where that puff is the outermost
    outermost = within.max(0)
    puffy = np.where(within == outermost, light, -9).max(0)
    detail = grid.detail[rows, columns]
    tone = 0.46 + puffy * 0.22 - (y - heart) / half * 0.18 + side * 0.10 + detail * 0.9
    coverage = grid.inside(outermost + detail * (half * 0.22))
    yield Layer("crown", rows, columns, coverage, _unit(tone))


def _stone(scene: Scene, grid: _Grid, thing: Thing) -> Iterator[Layer]:
    x0, y0, tall = thing.x, thing.y, thing.height
    half = tall * (0.7 + 0.5 * thing.shape[0])
    yield from _shadow(scene, grid, x0, y0, half)
    box = grid.window(x0 - half, y0 - tall, x0 + half, y0)
    if box:
        rows, columns, x, y = box
        dx, dy = (x - x0) / half, (y - y0) / tall
        coverage = grid.inside((1 - _distance(dx, dy)) * tall) * grid.inside(y0 - y)
        tone = 0.05 - dy * 0.8 + dx * (scene.light * 0.35) + grid.detail[rows, columns] * 0.6
        yield Layer("stone", rows, columns, coverage, _unit(tone))


def _house(scene: Scene, grid: _Grid, thing: Thing) -> Iterator[Layer]:
    """A gabled front towards the light, and a long side that recedes from it."""
    x0, y0, tall = thing.x, thing.y, thing.height
    wall = "barn" if thing.kind == "barn" else "wall"
    away = -scene.light
    eave, ridge = y0 - tall * 0.52, y0 - tall
    front, long = tall * 0.62, _length(thing)
    corner = x0 - away * (front + long) / 2

    def block(material, middle, half, top, bottom, tone):
        x = corner + away * middle
        return _box(grid, material, x - half, top, x + half, bottom, tone)

    yield from _shadow(scene, grid, x0, y0, (front + long) * 0.5)
    yield from block(wall, front + long / 2, long / 2, eave - tall * 0.02, y0, 0.15)
    for at in (0.3, 0.7):
        middle = front + long * at
        yield from block("window", middle, tall * 0.075, y0 - tall * 0.36, y0 - tall * 0.17, 0.4)
    middle = front + long * 0.6
    yield from block("wood", middle, tall * 0.06, ridge - tall * 0.12, eave, 0.25)
    yield from block("roof", middle, tall * 0.07, ridge - tall * 0.16, ridge - tall * 0.11, 0.9)
    half = (front + long) / 2 + tall * 0.1
    box = grid.window(x0 - half, ridge - tall * 0.05, x0 + half, y0)
    if box is None:
        return
    rows, columns, x, y = box
    u = (x - corner) * away  # along the house from the front's outer corner
    up = (y0 - y) / tall
    gable = tall * (0.52 + 0.47 * (1 - np.abs(u / (front / 2) - 1)) - up)
    face = np.minimum(np.minimum(u, front - u), np.minimum(gable, up * tall))
    yield Layer(wall, rows, columns, grid.inside(face), np.full_like(face, 0.9))
    slope = up * 2 - 1  # of the roof's plane: 0 at the eave, 1 at the ridge
    start, end = front - slope * (front / 2) - 0.06 * tall, front + long + 0.05 * tall
    plane = np.minimum(u - start, end - u - slope * (front * 0.1))
    plane = np.minimum(plane, np.minimum(up - 0.46, 1.02 - up) * tall)
    tone = np.broadcast_to(_unit(0.25 + slope * 0.7), plane.shape)
    yield Layer("roof", rows, columns, grid.inside(plane), tone)
    # the roof's edge over the front
    rake = 0.045 * tall - np.abs(gable - 0.01 * tall) * 0.75
    rake = np.minimum(rake, np.minimum(u + 0.08 * tall, front - u))
    yield Layer("roof", rows, columns, grid.inside(rake), np.full_like(rake, 0.7))
    yield from block("wood", front / 2, tall * 0.08, y0 - tall * 0.30, y0, 0.2)
    yield from block("window", front / 2, tall * 0.056, y0 - tall * 0.62, y0 - tall * 0.46, 0.6)


_THINGS = {
    "conifer": _conifer,
    "crown": _deciduous,
    "house": _house,
    "barn": _house,
    "stone": _stone,
}

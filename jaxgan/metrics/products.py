"""Inner products of all pairs of features, a block at a time: kernels and distances stand on them.

They take nearly all of the time, so that what needs them looks at each block once, together.
"""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np

ROWS = 1000  # features along a side of a block


class Side(NamedTuple):
    """A set of features about a centre that all sides share.

    Attributes:
      name: of the set.
      apart: float64 [N, D], features minus the centre.
      squares: [N], their squared lengths.
      along: [N], with which `a.apart @ b.apart + a.along + b.along` is the inner product of the
        features themselves.
    """

    name: str
    apart: np.ndarray
    squares: np.ndarray
    along: np.ndarray


class Block(NamedTuple):
    """Pairs of `rows` of one side with `columns` of another, or of the same.

    Of a side with itself only blocks on and above the diagonal come: the others are their
    transposes.
    """

    x: Side
    y: Side
    rows: slice
    columns: slice
    products: np.ndarray

    @property
    def within(self) -> bool:
        """Whether both sides are the same."""
        return self.x.name == self.y.name

    @property
    def diagonal(self) -> bool:
        """Whether each feature meets itself here."""
        return self.within and self.rows == self.columns

    def inner(self) -> np.ndarray:
        """Inner products of the features, [rows, columns]."""
        return self.products + self.x.along[self.rows, None] + self.y.along[None, self.columns]

    def squared(self) -> np.ndarray:
        """Squared distances, [rows, columns].

        About the centre: the difference of large squares would lose digits.
        """
        found = self.products * -2
        found += self.x.squares[self.rows, None]
        found += self.y.squares[None, self.columns]
        return np.maximum(found, 0, out=found)


def blocks(sets: Mapping[str, np.ndarray], pairs: Iterator[tuple[str, str]]) -> Iterator[Block]:
    """All blocks of each of `pairs` of sets, one pair of sets after another.

    Args:
      sets: name -> features [N, D].
      pairs: of names.

    Raises:
      ValueError: for features of different width.
    """
    widths = {x.shape[1] for x in sets.values()}
    if len(widths) > 1:
        raise ValueError(f"features of {' and of '.join(map(str, sorted(widths)))} numbers")
    sides = _sides({name: np.asarray(x, np.float64) for name, x in sets.items()})
    for x, y in ((sides[a], sides[b]) for a, b in pairs):
        for i, rows in enumerate(parts := _parts(len(x.apart))):
            for columns in parts[i:] if x is y else _parts(len(y.apart)):
                products = x.apart[rows] @ y.apart[columns].T
                yield Block(x, y, rows, columns, products)


def _sides(sets: Mapping[str, np.ndarray]) -> dict[str, Side]:
    centre = next(iter(sets.values())).mean(0)
    half = centre @ centre / 2
    found = {}
    for name, x in sets.items():
        apart = x - centre
        found[name] = Side(name, apart, (apart * apart).sum(1), x @ centre - half)
    return found


def _parts(count: int) -> list[slice]:
    return [slice(i, min(i + ROWS, count)) for i in range(0, count, ROWS)]

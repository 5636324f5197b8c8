"""Curves with bands as SVG, which any browser shows and no library is needed for."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

import numpy as np

# Told apart by people who see few colours, too (Okabe & Ito 2008).
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
DASHES = ("", "6 3", "2 2")  # once the colours are used up
LEFT, RIGHT, TOP, BOTTOM = 52, 14, 30, 44  # pixels around the axes
ENTRY = 16  # pixels of a line of the legend
TICKS = 5  # on an axis, about


class Curve(NamedTuple):
    """What is drawn as a line.

    Attributes:
      name: in the legend.
      x, y: [N]; where y isn't finite the line is broken.
      low, high: [N], the edges of a band around it; None: there is none.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


def chart(
    curves: Sequence[Curve],
    title: str = "",
    x: str = "",
    y: str = "",
    size: tuple[int, int] = (340, 240),
    bounds: tuple[float, float] | None = None,
) -> str:
    """Curves in one pair of axes.

    Args:
      curves: at least one point that is finite.
      title: above.
      x, y: what the axes are.
      size: of the picture without its legend, in pixels.
      bounds: least and greatest y; None: of the curves and their bands.

    Returns:
      An `<svg>` element.

    Raises:
      ValueError: there is nothing to draw.
    """
    rows = len(curves) if len(curves) > 1 else 0
    width, height = size[0], size[1] + ENTRY * rows
    across = _axis([v for c in curves for v in c.x], LEFT, size[0] - RIGHT)
    values = [v for c in curves for part in (c.y, c.low, c.high) if part is not None for v in part]
    up = _axis(list(bounds) if bounds else values, size[1] - BOTTOM, TOP, exact=bool(bounds))
    parts = [_text(size[0] / 2, 18, title, "middle", "bold")]
    for at, label in up.ticks:
        parts.append(_line(LEFT, at, size[0] - RIGHT, at, "#e4e4e7"))
        parts.append(_text(LEFT - 6, at + 4, label, "end"))
    for at, label in across.ticks:
        parts.append(_line(at, size[1] - BOTTOM, at, size[1] - BOTTOM + 4, "#a1a1aa"))
        parts.append(_text(at, size[1] - BOTTOM + 17, label, "middle"))
    parts.append(_line(LEFT, size[1] - BOTTOM, size[0] - RIGHT, size[1] - BOTTOM, "#a1a1aa"))
    parts.append(_text((LEFT + size[0] - RIGHT) / 2, size[1] - 8, x, "middle"))
    middle = (TOP + size[1] - BOTTOM) / 2
    parts.append(
        f'<g transform="rotate(-90 12 {middle:.1f})">{_text(12, middle + 4, y, "middle")}</g>'
    )
    opacity = max(0.03, min(0.18, 0.9 / len(curves)))  # of bands, which many lay over each other
    for i, curve in enumerate(curves):
        parts += _drawn(curve, i, across, up, opacity)
        if rows:
            at = size[1] + ENTRY * i + 4
            parts.append(_line(LEFT, at, LEFT + 22, at, *_style(i)))
            parts.append(_text(LEFT + 28, at + 4, curve.name, "start"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" '
        f'viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="11">'
        f'<rect width="{width}" height="{height}" fill="white"/>{"".join(parts)}</svg>'
    )


def table(charts: Sequence[Sequence[str]]) -> str:
    """Rows of charts, of one size each, as one `<svg>` element."""
    parts, top, width = [], 0, 0
    for row in charts:
        left, height = 0, 0
        for one in row:
            wide, high = (int(one.split(f'{name}="')[1].split('"')[0]) for name in _SIZES)
            parts.append(f'<g transform="translate({left} {top})">{one}</g>')
            left, height = left + wide, max(height, high)
        top, width = top + height, max(width, left)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{top}" '
        f'viewBox="0 0 {width} {top}">{"".join(parts)}</svg>'
    )


_SIZES = ("width", "height")


class _Axis(NamedTuple):
    """Values to pixels: `first + value * step`, and (pixel, label) of each tick."""

    first: float
    step: float
    ticks: list[tuple[float, str]]

    def __call__(self, value: float) -> float:
        return self.first + value * self.step


def _axis(values: Sequence[float], begin: float, end: float, exact: bool = False) -> _Axis:
    values = np.asarray([v for v in values if math.isfinite(v)], float)
    if not len(values):
        raise ValueError("there is nothing to draw")
    low, high = float(values.min()), float(values.max())
    if low == high:
        low, high = low - (abs(low) or 1) / 2, high + (abs(high) or 1) / 2
    apart = tick_distance(low, high)
    if not exact:
        margin = (high - low) * 0.04
        low, high = low - margin, high + margin
    step = (end - begin) / (high - low)
    ticks = np.arange(math.ceil(low / apart - 1e-9), math.floor(high / apart + 1e-9) + 1) * apart
    digits = max(0, -math.floor(math.log10(apart) + 1e-9))
    first = begin - low * step
    return _Axis(first, step, [(first + t * step, _label(t, digits)) for t in ticks])


def tick_distance(low: float, high: float) -> float:
    """1, 2 or 5 times a power of ten, of which about `TICKS` lie between two numbers."""
    rough = (high - low) / TICKS
    power = 10.0 ** math.floor(math.log10(rough))
    return next(n * power for n in (1, 2, 5, 10) if n * power >= rough * (1 - 1e-9))


def _label(value: float, digits: int) -> str:
    value = value + 0.0  # no "-0"
    if abs(value) >= 10_000:
        return f"{value / 1000:,.{max(0, digits)}f}k"
    return f"{value:.{digits}f}"


def _style(i: int) -> tuple[str, float, str]:
    colour = COLOURS[i % len(COLOURS)]
    return colour, 2.0, DASHES[i // len(COLOURS) % len(DASHES)]


def _drawn(curve: Curve, i: int, across: _Axis, up: _Axis, opacity: float) -> list[str]:
    colour, width, dash = _style(i)
    parts = []
    if curve.low is not None and curve.high is not None:
        edge = list(zip(curve.x, curve.high, strict=True))
        edge += list(zip(curve.x, curve.low, strict=True))[::-1]
        corners = " ".join(f"{across(a):.1f},{up(b):.1f}" for a, b in edge if math.isfinite(a + b))
        parts.append(f'<polygon points="{corners}" fill="{colour}" opacity="{opacity:.3g}"/>')
    pieces, piece = [], []
    for a, b in zip(curve.x, curve.y, strict=True):
        if math.isfinite(a + b):
            piece.append((across(a), up(b)))
        elif piece:
            pieces, piece = [*pieces, piece], []
    for points in [*pieces, piece] if piece else pieces:
        path = " ".join(f"{a:.1f},{b:.1f}" for a, b in points)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="{width}" '
            f'stroke-dasharray="{dash}"/>'
        )
        if len(points) <= 12:  # few enough to be looked at one by one
            parts += [
                f'<circle cx="{a:.1f}" cy="{b:.1f}" r="2.6" fill="{colour}"/>' for a, b in points
            ]
    return parts


def _line(a: float, b: float, c: float, d: float, colour: str, width: float = 1, dash="") -> str:
    return (
        f'<line x1="{a:.1f}" y1="{b:.1f}" x2="{c:.1f}" y2="{d:.1f}" stroke="{colour}" '
        f'stroke-width="{width}" stroke-dasharray="{dash}"/>'
    )


def _text(x: float, y: float, text: str, anchor: str, weight: str = "normal") -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-weight="{weight}" '
        f'fill="#27272a">{escape(text)}</text>'
    )

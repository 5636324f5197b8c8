"""Arrays as pictures: 8-bit values, PNG bytes, labelled grids. The page of them is in `page.py`."""

import io
import unicodedata
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

READABLE = 128  # a picture smaller than this is enlarged to at least this many pixels
_GAP, _GROUP_GAP, _MARGIN, _LINE = 4, 20, 8, 18
_PAPER, _INK, _QUIET = (255, 255, 255), (24, 24, 27), (113, 113, 122)


def to_uint8(images) -> np.ndarray:
    """Pictures as bytes: floats in [-1, 1] become `floor(127.5 (x + 1) + 1/2)`, clipped.

    This is the inverse of `x / 127.5 - 1`, exactly for all 256 values. NaN becomes 0. uint8
    passes through.

    Args:
      images: any shape, float in [-1, 1] or uint8.

    Raises:
      TypeError: another type of array.
    """
    images = np.asarray(images)
    if images.dtype == np.uint8:
        return images
    if np.issubdtype(images.dtype, np.integer) or images.dtype == np.bool_:
        raise TypeError(f"a picture is float in [-1, 1] or uint8, not {images.dtype}")
    images = np.nan_to_num(images.astype(np.float32), nan=-1.0, posinf=1.0, neginf=-1.0)
    return np.clip(np.floor((images + 1) * 127.5 + 0.5), 0, 255).astype(np.uint8)


def to_rgb(image) -> np.ndarray:
    """One picture as uint8 [H, W, 3].

    Args:
      image: [H, W] or [H, W, C], as `to_uint8` takes it. One channel is grey, two are shown as
        their mean, of more than three the first three are shown.
    """
    image = to_uint8(image)
    if image.ndim == 2:
        image = image[..., None]
    if image.ndim != 3:
        raise ValueError(f"a picture is [H, W] or [H, W, C], not {image.shape}")
    if image.shape[-1] == 2:
        image = np.round(image.mean(-1, keepdims=True)).astype(np.uint8)
    if image.shape[-1] == 1:
        image = np.repeat(image, 3, axis=-1)
    return np.ascontiguousarray(image[..., :3])


def enlargement(height: int, width: int) -> int:
    """The whole factor that makes a small picture readable; 1 from `READABLE` pixels on."""
    return max(1, -(-READABLE // max(height, width)))


def png(image: np.ndarray) -> bytes:
    """uint8 [H, W, 3], or [H, W] of grey, as PNG; equal arrays give equal bytes."""
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG", compress_level=6)
    return out.getvalue()


def grid(
    rows: Sequence[Sequence[np.ndarray | None]],
    labels: Sequence[str],
    title: str | None = None,
    groups: Sequence[tuple[str, int]] | None = None,
) -> np.ndarray:
    """A table of pictures with a label over every column.

    Small pictures are enlarged by a whole factor, nearest neighbour, so that pixels stay pixels.

    Args:
      rows: rows of pictures as `to_rgb` takes them; None leaves a cell empty.
      labels: one per column.
      title: a line above everything.
      groups: (heading, number of columns) from left to right, set apart from each other; such as
        the two directions of a translation.

    Returns:
      uint8 [height, width, 3].

    Raises:
      ValueError: no rows, or their lengths, the labels and the groups don't agree.
    """
    columns = len(labels)
    if not rows or any(len(row) != columns for row in rows):
        raise ValueError(f"rows of {[len(row) for row in rows]} pictures under {columns} labels")
    if groups is not None and sum(n for _, n in groups) != columns:
        raise ValueError(f"groups {list(groups)} don't add up to {columns} columns")
    cells = [[None if image is None else _enlarged(to_rgb(image)) for image in row] for row in rows]
    least = READABLE // 2  # an empty column has a label still
    widths = [
        max([least, *(cell.shape[1] for cell in column if cell is not None)])
        for column in zip(*cells, strict=True)
    ]
    heights = [max([1, *(cell.shape[0] for cell in row if cell is not None)]) for row in cells]

    font, bold = ImageFont.load_default(13), ImageFont.load_default(15)
    starts = set(np.cumsum([n for _, n in groups])[:-1].tolist()) if groups else set()
    lefts, x = [], _MARGIN
    for column, width in enumerate(widths):
        x += _GROUP_GAP - _GAP if column in starts else 0
        lefts.append(x)
        x += width + _GAP
    total_width = x - _GAP + _MARGIN
    wrapped = [_wrap(label, font, width) for label, width in zip(labels, widths, strict=True)]
    title_lines = _wrap(title, bold, total_width - 2 * _MARGIN) if title else []
    under_title = _GAP if title_lines else 0
    lines_above = len(title_lines) + bool(groups) + max(map(len, wrapped))
    head = _MARGIN + _LINE * lines_above + under_title
    total_height = head + _GAP + sum(heights) + _GAP * (len(rows) - 1) + _MARGIN

    canvas = Image.new("RGB", (total_width, total_height), _PAPER)
    draw = ImageDraw.Draw(canvas)
    y = _MARGIN - 2
    for line in title_lines:
        draw.text((_MARGIN, y), line, fill=_INK, font=bold)
        y += _LINE
    y += under_title
    column = 0
    for heading, n in groups or ():
        end = lefts[column + n - 1] + widths[column + n - 1]
        line = next(iter(_wrap(heading, bold, end - lefts[column])), "")
        draw.text((lefts[column], y), line, fill=_INK, font=bold)
        column += n
    for lines, left, width in zip(wrapped, lefts, widths, strict=True):
        for i, line in enumerate(reversed(lines)):  # set on the pictures, as it were
            middle = left + (width - font.getlength(line)) / 2
            draw.text((round(middle), head - (i + 1) * _LINE), line, fill=_QUIET, font=font)
    y = head + _GAP
    for row, height in zip(cells, heights, strict=True):
        for cell, left, width in zip(row, lefts, widths, strict=True):
            if cell is not None:
                shift = ((width - cell.shape[1]) // 2, (height - cell.shape[0]) // 2)
                canvas.paste(Image.fromarray(cell), (left + shift[0], y + shift[1]))
        y += height + _GAP
    return np.asarray(canvas).copy()


def _enlarged(image: np.ndarray) -> np.ndarray:
    factor = enlargement(*image.shape[:2])
    return image.repeat(factor, 0).repeat(factor, 1)


def _wrap(text: str, font: ImageFont.FreeTypeFont, width: int) -> list[str]:
    """Words on lines of at most `width` pixels; a word that is longer is cut."""
    # Pillow's built-in font knows ASCII only, and draws boxes for the rest.
    text = text.replace("→", " to ").replace("×", "x").replace("·", "-").replace("–", "-")
    text = unicodedata.normalize("NFKD", text)
    text = "".join(c for c in text if not unicodedata.combining(c))
    lines: list[str] = []
    for word in text.encode("ascii", "replace").decode().split():
        if lines and font.getlength(f"{lines[-1]} {word}") <= width:
            lines[-1] += f" {word}"
            continue
        while len(word) > 1 and font.getlength(word) > width:
            word = word[:-1]
        lines.append(word)
    return lines

"""The page of test images: one HTML file that needs nothing else, for people who'd rather look."""

import base64
import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxgan.files import write_atomically
from jaxgan.pictures import READABLE, enlargement, png, to_rgb

LARGEST = 2 * READABLE  # pixels that a picture takes in the table; a click shows it larger


class Row(NamedTuple):
    """One test image.

    Attributes:
      name: such as its file's.
      images: column -> picture as `pictures.to_rgb` takes it. A column may be missing.
      scores: name -> value of this image alone.
    """

    name: str
    images: Mapping[str, np.ndarray]
    scores: Mapping[str, float] = {}


class Section(NamedTuple):
    """One direction of the translation: a heading over rows of test images."""

    title: str
    rows: Sequence[Row]


def page(
    path: Path | str,
    title: str,
    sections: Sequence[Section],
    facts: Mapping[str, Any],
) -> None:
    """Writes the page at once (the old one or the new one, never half of one).

    Equal arguments give equal bytes. Columns stand in the order in which rows first name them.
    The scores' headings sort the rows; a click enlarges a picture.

    Args:
      path: of the HTML file; its folder is made.
      title: of the page.
      sections: one table each.
      facts: what stands on top: name -> number or text; a mapping is folded away, and text of
        several lines keeps them.

    Raises:
      UserError: the file can't be written.
    """
    body = [f"<h1>{_text(title)}</h1>", _facts(facts)]
    body += [_section(section) for section in sections]
    document = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(body)
        + f"\n<script>{_SCRIPT}</script>\n</body>\n</html>\n"
    )
    write_atomically(path, document.encode("utf-8", "replace"))


def _text(value: Any) -> str:
    if isinstance(value, float | np.floating):
        value = f"{value:.0f}" if 1000 <= abs(value) < 1e7 else f"{value:#.4g}".rstrip(".")
    return html.escape(str(value))


def _facts(facts: Mapping[str, Any]) -> str:
    shown = []
    for name, value in facts.items():
        if isinstance(value, Mapping):
            rows = "".join(f"{_text(k)} = {_text(v)}\n" for k, v in _flat(value))
            shown.append(
                f'<div class="wide"><details><summary>{_text(name)}</summary>'
                f"<pre>{rows}</pre></details></div>"
            )
        elif isinstance(value, str) and ("\n" in value or len(value) > 40):
            shown.append(
                f'<div class="wide"><dt>{_text(name)}</dt><dd><pre>{_text(value)}</pre></dd></div>'
            )
        else:
            shown.append(f"<div><dt>{_text(name)}</dt><dd>{_text(value)}</dd></div>")
    return "<dl>\n" + "\n".join(shown) + "\n</dl>"


def _flat(tree: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    leaves = []
    for name, value in tree.items():
        nested = isinstance(value, Mapping)
        leaves += _flat(value, f"{prefix}{name}.") if nested else [(f"{prefix}{name}", value)]
    return leaves


def _section(section: Section) -> str:
    rows = section.rows
    columns = list(dict.fromkeys(column for row in rows for column in row.images))
    scores = list(dict.fromkeys(score for row in rows for score in row.scores))
    note = f"{len(rows):,} test image{'s' * (len(rows) != 1)}"
    head = '<th><button title="sort">image</button></th>'
    head += "".join(f"<th>{_text(column)}</th>" for column in columns)
    head += "".join(
        f'<th class="score"><button title="sort">{_text(score)}</button></th>' for score in scores
    )
    lines = [
        f'<section>\n<h2>{_text(section.title)}</h2>\n<p>{note}</p>\n<div class="scroll">'
        f"<table>\n<thead><tr>{head}</tr></thead>\n<tbody>"
    ]
    for number, row in enumerate(rows):
        cells = [f'<th scope="row" data-value="{number}">{_text(row.name)}</th>']
        for column in columns:
            image = row.images.get(column)
            shown = "" if image is None else _image(image, f"{row.name}: {column}")
            cells.append(f"<td>{shown}</td>")
        for score in scores:
            value = float(row.scores.get(score, math.nan))
            known = score in row.scores and not math.isnan(value)
            data = f' data-value="{value!r}"' if known else ""
            data = data.replace('"inf"', '"Infinity"').replace('"-inf"', '"-Infinity"')
            shown = _text(value) if score in row.scores else ""
            cells.append(f'<td class="score"{data}>{shown}</td>')
        lines.append(f"<tr>{''.join(cells)}</tr>")
    lines.append("</tbody></table></div>\n</section>")
    return "\n".join(lines)


def _image(image: np.ndarray, alt: str) -> str:
    image = to_rgb(image)
    height, width = image.shape[:2]
    factor = enlargement(height, width)
    shrink = min(1.0, LARGEST / (max(height, width) * factor))
    data = base64.b64encode(png(image)).decode()
    small = ' class="pixels"' if factor > 1 else ""
    return (
        f'<img{small} width="{round(width * factor * shrink)}" '
        f'height="{round(height * factor * shrink)}" alt="{_text(alt)}" title="{_text(alt)}" '
        f'src="data:image/png;base64,{data}">'
    )


_STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #18181b; --quiet: #71717a;
  --line: #e4e4e7; --panel: #f4f4f5; }
@media (prefers-color-scheme: dark) { :root { --paper: #18181b; --ink: #f4f4f5;
  --quiet: #a1a1aa; --line: #3f3f46; --panel: #27272a; } }
body { margin: 0 auto; max-width: 1400px; padding: 24px; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 26px; margin: 0 0 16px; } h2 { font-size: 20px; margin: 36px 0 0; }
p { color: var(--quiet); margin: 2px 0 10px; }
dl { display: flex; flex-wrap: wrap; gap: 8px; margin: 0; }
dl > div { background: var(--panel); border-radius: 8px; padding: 8px 14px; min-width: 90px; }
dl > .wide { flex-basis: 100%; }
dt, summary { color: var(--quiet); font-size: 13px; } summary { cursor: pointer; }
dd { margin: 0; font-size: 18px; font-variant-numeric: tabular-nums; }
pre { margin: 4px 0; font: 13px/1.5 ui-monospace, monospace; white-space: pre-wrap;
  overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; }
th, td { padding: 5px 6px; text-align: center; border-bottom: 1px solid var(--line); }
thead th { color: var(--quiet); font-weight: 500; }
th:first-child { text-align: left; }
tbody th { font-weight: 400; font-size: 13px; min-width: 90px;
  max-width: 180px; overflow-wrap: anywhere; }
.score { text-align: right; font-variant-numeric: tabular-nums; padding-left: 16px; }
button { font: inherit; color: inherit; background: none; border: 0; padding: 0;
  cursor: pointer; text-decoration: underline dotted; }
button[data-order]::after { content: " \\2191"; }
button[data-order="-1"]::after { content: " \\2193"; }
img { display: block; border-radius: 3px; cursor: zoom-in; }
.pixels { image-rendering: pixelated; }
img.large { position: fixed; inset: 0; margin: auto; width: 90vmin; height: 90vmin; z-index: 1;
  object-fit: contain; background: var(--paper); box-shadow: 0 0 0 100vmax #000a;
  cursor: zoom-out; }
"""

_SCRIPT = """
document.addEventListener("click", event => {
  const open = document.querySelector("img.large");
  if (open) return open.classList.remove("large");
  if (event.target.tagName === "IMG") return event.target.classList.add("large");
  const button = event.target.closest("thead button");
  if (!button) return;
  const order = button.dataset.order === "1" ? -1 : 1;
  for (const other of button.closest("tr").querySelectorAll("button"))
    delete other.dataset.order;
  button.dataset.order = order;
  const column = button.parentNode.cellIndex;
  const value = row => row.cells[column].dataset.value;
  const body = button.closest("table").tBodies[0];
  const rows = [...body.rows].sort((a, b) =>
    value(a) === undefined ? 1 : value(b) === undefined ? -1 :
    order * (Number(value(a)) - Number(value(b)) || 0));
  body.append(...rows);
});
"""

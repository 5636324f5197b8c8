"""metrics.jsonl and scores.jsonl: one JSON object per line, `{"step": 500, ...}`.

Every line reaches its file before `append` returns, so that a killed process leaves whole lines
and at most one torn one.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgan.files import disk_error, write_all, write_atomically

_TIMINGS = ("time", "second", "wait")


def is_timing(name: str) -> bool:
    """Whether a metric is a timing, by its name: all others are reproducible to the bit."""
    return any(word in name for word in _TIMINGS)


def read(path: Path | str) -> list[dict[str, Any]]:
    """The whole lines of a file; [] where there is none."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        return []
    return [line for line in map(_parse, data.split(b"\n")) if line is not None]


def rewind(path: Path | str, step: int) -> None:
    """Drops, at once, every line that is newer than `step` or torn; step 0 keeps none.

    A file that holds nothing of the kind isn't touched.

    Raises:
      UserError: the file can't be written.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return
    except OSError as error:
        raise disk_error(path, error) from error
    kept = []
    for text in data.split(b"\n"):
        line = _parse(text)
        if step > 0 and line is not None and line["step"] <= step:
            kept.append(text + b"\n")
    if b"".join(kept) != data:
        write_atomically(path, b"".join(kept), sync=True)


def append(path: Path | str, step: int, values: Mapping[str, Any]) -> dict[str, Any]:
    """Appends a line and returns it.

    Args:
      path: of the file, made if need be.
      step: steps done.
      values: name -> text, number or array of one element. Floats are written exactly (the
        shortest text that reads back as the same number); what JSON lacks becomes "NaN",
        "Infinity" or "-Infinity", which `float` reads.

    Raises:
      UserError: the file can't be written.
    """
    if "step" in values:
        raise ValueError('values must not hold "step": it is an argument')
    line = {"step": int(step)} | {name: _plain(value) for name, value in values.items()}
    try:
        with open(path, "ab", buffering=0) as file:
            write_all(file, json.dumps(line, allow_nan=False).encode() + b"\n")
    except OSError as error:
        raise disk_error(path, error) from error
    return line


def _parse(text: bytes) -> dict[str, Any] | None:
    try:
        line = json.loads(text)
    except ValueError:
        return None
    return line if isinstance(line, dict) and isinstance(line.get("step"), int) else None


def _plain(value: Any) -> Any:
    value = value.item() if hasattr(value, "item") else value
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else ("Infinity" if value > 0 else "-Infinity")
    return value

"""What a run says: the progress bar, metrics.jsonl, scores.jsonl, TensorBoard, sample grids."""

import contextlib
import math
import os
import re
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from tqdm import tqdm

from jaxgan import pictures, records
from jaxgan.events import PREFIX, EventFile
from jaxgan.files import disk_error, write_atomically

METRICS, SCORES = "metrics.jsonl", "scores.jsonl"
SECONDS_BETWEEN_LINES = 2.0  # at least, where stdout is no terminal
_OF_A_SEED = re.compile(r"seed\d+/")  # of several that train side by side


class Logs:
    """All side effects of logging of one run's folder.

    A killed process loses nothing that a checkpoint stands on: lines and pictures reach their
    files before a call returns, and the next start goes back to its checkpoint's step.
    """

    def __init__(
        self,
        workdir: Path | str,
        *,
        total_steps: int,
        resumed_step: int = 0,
        tensorboard: bool = True,
        stream: TextIO | None = None,
        enabled: bool = True,
    ):
        """Takes the folder's logs back to the step from which the run goes on.

        Call it while holding the folder's lock.

        Args:
          workdir: the run's folder; made if need be.
          total_steps: where the progress bar ends.
          resumed_step: lines newer than this are dropped; 0 is a fresh start and drops all.
          tensorboard: write an event file too, one per start (made with the first event).
          stream: where people read; None is stdout. A bar where it is a terminal, else lines.
          enabled: False makes every call do nothing, as on all processes but the first.

        Raises:
          UserError: here and in every call that writes: a file can't be written.
        """
        self.workdir = Path(workdir)
        self.total_steps, self.resumed_step = total_steps, resumed_step
        self._enabled, self._tensorboard = enabled, tensorboard
        self._stream = sys.stdout if stream is None else stream
        terminal = getattr(self._stream, "isatty", lambda: False)()
        self._terminal = enabled and terminal and os.environ.get("TERM") != "dumb"
        self._bar: _Bar | None = None
        self._rate: float | None = None  # images per second
        self._losses: Mapping[str, Any] = {}
        self._origin: tuple[int, float] | None = None  # step and time of the first sign of life
        self._last_line = -math.inf
        self._events: EventFile | None = None
        if not enabled:
            return
        try:
            self.workdir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise disk_error(self.workdir, error) from error
        for name in (METRICS, SCORES):
            records.rewind(self.workdir / name, resumed_step)

    def say(self, message: str) -> None:
        """A line for people; it doesn't break the bar."""
        if not self._enabled or self._stream is None:
            return
        with self._talking():
            if self._bar is not None:
                self._bar.clear()
            encoding = getattr(self._stream, "encoding", None) or "utf-8"
            self._stream.write(message.encode(encoding, "replace").decode(encoding) + "\n")
            self._stream.flush()
            if self._bar is not None:
                self._bar.refresh()

    def progress(
        self,
        step: int,
        *,
        images_per_second: float | None = None,
        losses: Mapping[str, float] | None = None,
    ) -> None:
        """Moves the bar; cheap enough for every step. Without a terminal it shows nothing.

        Args:
          step: steps done.
          images_per_second: None leaves what was shown last, as from `metrics`.
          losses: name -> number; None likewise.
        """
        if not self._enabled:
            return
        if self._origin is None:
            self._origin = (step, time.monotonic())
        self._rate = self._rate if images_per_second is None else float(images_per_second)
        self._losses = self._losses if losses is None else losses
        if not self._terminal:
            return
        with self._talking():
            if self._bar is None:  # only now, so that compiling isn't in the time left
                self._bar = _Bar(
                    total=self.total_steps,
                    initial=step,
                    file=self._stream,
                    mininterval=0.2,
                    miniters=1,
                    nrows=24,  # tqdm hides where a terminal says that it has none
                    bar_format="{percentage:3.0f}% |{bar:10}| {n_fmt}/{total_fmt} steps, "
                    "{remaining} left{postfix}",
                )
            self._bar.ncols = shutil.get_terminal_size().columns
            self._bar.set_postfix_str(self._summary(), refresh=False)
            self._bar.update(step - self._bar.n)

    def metrics(self, step: int, values: Mapping[str, Any]) -> None:
        """One line in metrics.jsonl, TensorBoard scalars, and a line or the bar for people.

        Args:
          step: steps done.
          values: as `records.append` takes them. `images_per_second` and all that is neither
            a timing (`records.is_timing`) nor `images` nor of a single seed (`seed0/...`) is shown.
        """
        if not self._enabled:
            return
        line = records.append(self.workdir / METRICS, step, values)
        self._scalars(step, "train", line)
        self.progress(
            step,
            images_per_second=line.get("images_per_second"),
            losses={name: value for name, value in line.items() if _is_shown(name)},
        )
        now = time.monotonic()
        due = now - self._last_line >= SECONDS_BETWEEN_LINES or step >= self.total_steps
        if due and not self._terminal:
            self._last_line = now
            parts = [f"step {step}/{self.total_steps}", self._time_left(step), self._summary()]
            self.say(", ".join(part for part in parts if part))

    def scores(self, step: int, values: Mapping[str, Any]) -> None:
        """One line in scores.jsonl; what is a number goes to TensorBoard too."""
        if self._enabled:
            line = records.append(self.workdir / SCORES, step, values)
            self._scalars(step, "scores", line)

    def images(self, step: int, name: str, grid: np.ndarray) -> None:
        """A picture in samples/ and in TensorBoard.

        Args:
          step: steps done.
          name: "samples" makes samples/step_000500.png, another one samples/step_000500_NAME.png.
          grid: uint8 [H, W, 3], as of `pictures.grid`.
        """
        if not self._enabled:
            return
        data = pictures.png(grid)
        suffix = "" if name == "samples" else f"_{name}"
        write_atomically(self.workdir / "samples" / f"step_{step:06d}{suffix}.png", data)
        if self._tensorboard:
            self._event_file().image(step, name, data, *grid.shape[:2])

    def close(self) -> None:
        """Ends the bar and closes the files. Later calls do nothing."""
        if self._bar is not None:
            with self._talking():
                self._bar.close()
            self._bar = None
        if self._events is not None:
            self._events.close()
            self._events = None
        self._enabled = False

    def __enter__(self) -> "Logs":
        return self

    def __exit__(self, *_) -> None:
        self.close()

    def _scalars(self, step: int, group: str, line: Mapping[str, Any]) -> None:
        numbers = {
            f"{'timing' if records.is_timing(name) else group}/{name}": float(value)
            for name, value in line.items()
            if name != "step" and isinstance(value, int | float)
        }
        if self._tensorboard and numbers:
            self._event_file().scalars(step, numbers)

    def _event_file(self) -> EventFile:
        if self._events is None:
            old = next(self.workdir.glob(PREFIX + "*"), None)
            newer = self.resumed_step + 1 if self.resumed_step else 0
            self._events = EventFile(self.workdir, purge_step=None if old is None else newer)
        return self._events

    def _summary(self) -> str:
        parts = (
            []
            if self._rate is None
            else [f"{self._rate:.{1 if self._rate < 100 else 0}f} images/s"]
        )
        for name, value in self._losses.items():
            value = value if isinstance(value, int | str) else f"{float(value):.4g}"
            parts.append(f"{name} {value}")
        return ", ".join(parts)

    def _time_left(self, step: int) -> str:
        first_step, start = self._origin
        if step <= first_step:
            return ""
        seconds = (time.monotonic() - start) / (step - first_step) * (self.total_steps - step)
        return f"{tqdm.format_interval(max(0.0, seconds))} left"

    @contextlib.contextmanager
    def _talking(self):
        """Goes silent where nobody listens any more (`| head`, a closed terminal)."""
        try:
            yield
        except OSError:
            if self._bar is not None:
                self._bar.disable = True  # or it would write once more when it is collected
            self._stream, self._bar, self._terminal = None, None, False


def _is_shown(name: str) -> bool:
    hidden = records.is_timing(name) or name in ("step", "images")
    return not (hidden or _OF_A_SEED.match(name))


class _Bar(tqdm):
    monitor_interval = 0  # no thread of its own

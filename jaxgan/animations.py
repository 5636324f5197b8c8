"""Pictures one after another as bytes of a file: GIF, and MP4 where `ffmpeg` is there."""

import io
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from jaxgan.errors import UserError

FRAME = 50  # milliseconds: GIF counts in hundredths of a second


def gif(frames: Sequence[np.ndarray]) -> bytes:
    """A loop of uint8 [H, W, 3], each in 256 colours of its own; equal arrays give equal bytes."""
    first, *rest = [
        Image.fromarray(frame).quantize(256, dither=Image.Dither.NONE) for frame in frames
    ]
    out = io.BytesIO()
    first.save(out, "GIF", save_all=True, append_images=rest, duration=FRAME, loop=0)
    return out.getvalue()


def ffmpeg() -> str:
    """Where the program `ffmpeg` is.

    Raises:
      UserError: it isn't on the PATH.
    """
    found = shutil.which("ffmpeg")
    if found is None:
        raise UserError(
            "--video needs the program ffmpeg, which isn't on the PATH here; install it, or leave "
            "out --video: the GIF needs nothing"
        )
    return found


def mp4(frames: Sequence[np.ndarray], program: str) -> bytes:
    """A film of uint8 [H, W, 3], once through, in the codec that `ffmpeg` takes by itself.

    Args:
      frames: all of one size; odd sides gain a black line, since films have even ones.
      program: where `ffmpeg` is.

    Raises:
      UserError: it failed, with the last line of what it said.
    """
    height, width = frames[0].shape[:2]
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "film.mp4"
        given = ["-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}"]
        given += ["-r", str(1000 // FRAME), "-i", "-"]
        wanted = ["-vf", "pad=ceil(iw/2)*2:ceil(ih/2)*2", "-pix_fmt", "yuv420p", str(target)]
        done = subprocess.run(
            [program, "-loglevel", "error", "-y", *given, *wanted],
            input=b"".join(frame.tobytes() for frame in frames),
            capture_output=True,
            check=False,
        )
        if done.returncode or not target.exists():
            said = done.stderr.decode(errors="replace").strip().splitlines() or ["it said nothing"]
            raise UserError(f"ffmpeg made no film ({said[-1]}); leave out --video for the GIF")
        return target.read_bytes()

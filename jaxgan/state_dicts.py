"""State dicts in files, to arrays and back: `.safetensors`, and `.pth` (see `torch_file.py`)."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import safetensors.numpy

from jaxgan import torch_file
from jaxgan.errors import UserError
from jaxgan.files import expanded


def read(path: str | Path) -> dict[str, np.ndarray]:
    """Name -> array of a file of weights; names that all begin with `module.` lose that.

    Args:
      path: `.safetensors`, or what `torch.save` made of a state dict, in the zip format or the
        older one. A state dict may lie in a dict of other things.

    Raises:
      UserError: there is no such file, it is none of these, is damaged, or asks for code to be run.
    """
    path = expanded(path)
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise UserError(f"{path} {what}; a .pth or a .safetensors file is needed")
    try:
        data = path.read_bytes()
        # Eight bytes of a length, and JSON.
        arrays = (safetensors.numpy.load if data[8:9] == b"{" else torch_file.read)(data)
        strange = [name for name, array in arrays.items() if array.dtype.kind == "c"]
        if strange:
            raise ValueError(f"{strange[0]} holds complex numbers")
    except UserError as error:
        raise UserError(f"{path} is refused: {error}") from None
    except Exception as error:  # whatever garbage leads to
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise UserError(
            f"{path} can't be read as weights ({reason}); it should be a whole .safetensors file, "
            "or a .pth file that torch.save made of a state_dict()"
        ) from None
    if arrays and all(name.startswith("module.") for name in arrays):  # DataParallel's
        arrays = {name.removeprefix("module."): array for name, array in arrays.items()}
    return arrays


def to_safetensors(arrays: Mapping[str, np.ndarray]) -> bytes:
    """The bytes of a `.safetensors` file."""
    return safetensors.numpy.save({n: np.ascontiguousarray(a) for n, a in arrays.items()})

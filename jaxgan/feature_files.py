"""Files of what scores are made of: statistics of a set, or features of two."""

import json
from collections.abc import Sequence

import numpy as np

from jaxgan import gathering
from jaxgan.data import image_sets
from jaxgan.errors import UserError
from jaxgan.files import expanded
from jaxgan.metrics import frechet, scores
from jaxgan.metrics.networks import Network
from jaxgan.metrics.scores import Gathered


def statistics(path: str, names: Sequence[str], net: Network | None) -> Gathered | None:
    """Published statistics, where a file holds `mu` and `sigma`; else None.

    Raises:
      UserError: for arrays that aren't statistics, those of another network's features, or scores
        that need more.
    """
    file = expanded(path)
    if file.suffix != ".npz" or not file.is_file():
        return None
    arrays = image_sets.read_arrays(path, {"mu", "sigma", "count", "made_of"}.intersection)
    if not {"mu", "sigma"} <= set(arrays):
        return None
    mean, covariance = (np.asarray(arrays[name], np.float64) for name in ("mu", "sigma"))
    if mean.ndim != 1 or covariance.shape != mean.shape * 2:
        raise UserError(
            f"{path} holds mu {list(mean.shape)} and sigma {list(covariance.shape)}; statistics "
            "of D features are [D] and [D, D]"
        )
    more = [name for name in names if name not in scores.OF_STATISTICS]
    if more:
        raise UserError(
            f"{path} holds statistics alone, and {more[0]} needs the images themselves; "
            "--metrics=fid needs no more"
        )
    made_of = json.loads(str(arrays["made_of"])) if "made_of" in arrays else None
    ours = json.loads(json.dumps(net.record)) if net else None
    if made_of is not None and ours is not None and made_of != ours:
        unlike = [name for name in {**made_of, **ours} if made_of.get(name) != ours.get(name)]
        name = unlike[0]
        raise UserError(
            f"{path} holds statistics of other features: {name} is {made_of.get(name)} there and "
            f"{ours.get(name)} here"
        )
    count = int(arrays["count"]) if "count" in arrays else 0
    return Gathered(frechet.Gaussian(mean, covariance, count))


def features(path: str) -> tuple[Gathered, Gathered]:
    """Features of both sets from a file."""
    arrays = image_sets.read_arrays(path)
    found = {}
    for name in ("real", "fake"):
        features = arrays.get(name, arrays.get(f"features_{name}"))
        logits = arrays.get(f"{name}_logits", arrays.get(f"logits_{name}"))
        if features is None:
            there = ", ".join(arrays) or "nothing"
            raise UserError(f"{path} has no array `{name}` of features [N, D]; it has {there}")
        for what, array in ((name, features), (f"{name}_logits", logits)):
            if array is not None and (array.ndim != 2 or array.dtype.kind not in "fiu"):
                raise UserError(f"{path}: {what} is {list(array.shape)}; [N, D] is expected")
            if array is not None and not np.all(np.isfinite(array)):
                raise UserError(f"{path}: {what} holds NaN or infinite values")
        if len(features) < 2:
            raise UserError(f"{path}: {name} has {len(features)} features; it takes at least 2")
        found[name] = Gathered(frechet.fit([features]), features, logits)
    widths = [found[name].features.shape[1] for name in ("real", "fake")]
    if widths[0] != widths[1]:
        raise UserError(f"{path}: features of {widths[0]} numbers (real) and {widths[1]} (fake)")
    return found["real"], found["fake"]


def write_statistics(path: str, gathered: Gathered, net: Network) -> None:
    """A `.npz` of `mu`, `sigma` and `count`, as `statistics` reads it, with what made them."""
    mean, covariance, count = gathered.gaussian
    kept = {"mu": mean, "sigma": covariance, "count": np.array(count)}
    kept["made_of"] = np.array(json.dumps(net.record))
    gathering.write(expanded(path), kept)

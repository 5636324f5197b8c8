"""What turns images into features, as `--features` of `jaxgan.evaluate` chooses it."""

import hashlib
import importlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxgan import state_dicts
from jaxgan.errors import UserError
from jaxgan.evaluators import unit
from jaxgan.files import digest
from jaxgan.metrics import inception, random_features
from jaxgan.pictures import to_uint8

# SHA-256 of the published weights: pt_inception-2015-12-05-6726825d.pth is named after its hash.
INCEPTION = "6726825d"


class Network(NamedTuple):
    """Images to features.

    Attributes:
      suffix: what names of scores end with, as in `fid_random`; nothing for FID's own network.
      prepare: on the host, [N, H, W, C] uint8 or float32 in [-1, 1] to what `features` takes.
      features: (constants, prepared) -> `features` [N, D] and perhaps `logits` [N, classes]; where
        it isn't JAX's (`compiled` is False), of NumPy arrays.
      constants: weights, a tree.
      chunk: images at a time on a device, always as many: another number would be another program,
        with roundings of its own.
      record: what is written beside a score.
      compiled: whether `features` can be compiled.
    """

    suffix: str
    prepare: Callable[[np.ndarray], np.ndarray]
    features: Callable[[Any, Any], Mapping[str, Any]]
    constants: Any
    chunk: int
    record: Mapping[str, Any]
    compiled: bool = True


def network(features: str, weights: str, resize: str) -> Network:
    """The network of `--features`.

    Args:
      features: inception, random, or module:function.
      weights: a file, of inception.
      resize: how inception's images get their size.

    Raises:
      UserError: for what there isn't, or weights that are another network's.
    """
    if weights and features != "inception":
        raise UserError(f"--weights={weights} is for --features=inception; leave it out")
    if features == "random":
        return _random()
    if features == "inception":
        return _inception(weights, resize)
    if ":" in features:
        return _own(features)
    raise UserError(
        f"--features={features} doesn't fit: it takes inception (with --weights=FILE), random, "
        "module:function, or FILE.npz"
    )


def _levels(images: np.ndarray) -> np.ndarray:
    """Values of 0 to 255, three channels."""
    levels = to_uint8(images)
    return np.broadcast_to(levels, (*levels.shape[:3], 3)).astype(np.float32)


def _random() -> Network:
    def features(kernels, images):
        return {"features": random_features.features(kernels, images)}

    kernels, hashed = random_features.weights(), hashlib.sha256()
    for kernel in kernels:
        hashed.update(kernel.tobytes())
    record = {
        "features": "random",
        "version": random_features.VERSION,
        "weights_sha256": hashed.hexdigest()[:16],
    }
    return Network("_random", unit, features, kernels, 64, record)


def _inception(weights: str, resize: str) -> Network:
    if not weights:
        raise UserError(
            "--features=inception needs --weights=FILE, the pt_inception-2015-12-05-6726825d.pth "
            "of torch-fidelity and pytorch-fid; docs/metrics.md says where it is. "
            "--features=random needs none."
        )
    if resize not in inception.RESIZE:
        known = ", ".join(inception.RESIZE)
        raise UserError(f"--resize={resize} doesn't fit: it takes {known}")
    arrays = state_dicts.read(weights)
    try:
        variables = inception.from_published(arrays)
    except UserError as error:
        raise UserError(f"--weights={weights}: {error}") from None
    hashed = digest(weights)
    variables = jax.tree.map(lambda x: x.astype(np.float32), variables)
    module = inception.InceptionV3(("2048", "logits_unbiased"))

    def features(variables, images):
        found = module.apply(variables, images)
        return {"features": found["2048"], "logits": found["logits_unbiased"]}

    record = {
        "features": "inception",
        "weights_sha256": hashed[:16],
        "weights_known": hashed.startswith(INCEPTION),
        "resize": resize,
    }
    # Another file's scores can't be compared with published ones, and are called so.
    suffix = "" if hashed.startswith(INCEPTION) else "_unknown_weights"
    if resize != "tf1":
        suffix += f"_{resize}"
    fit = inception.RESIZE[resize]
    return Network(suffix, lambda x: fit(_levels(x)), features, variables, 8, record)


def _own(text: str) -> Network:
    """A function of one's own: uint8 or float32 [N, H, W, C] to [N, D], or to a mapping."""
    module, _, name = text.partition(":")
    sys.path.insert(0, os.getcwd())  # as for a script, whose neighbours can be imported
    try:
        function = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"--features={text} can't be imported: {error}") from error
    finally:
        sys.path.pop(0)
    if not callable(function):
        raise UserError(f"--features={text} is no function of images")

    def features(_, images):
        found = function(images)
        found = dict(found) if isinstance(found, Mapping) else {"features": found}
        found = {key: np.asarray(value) for key, value in found.items() if value is not None}
        made = found.get("features")
        if made is None or made.ndim != 2 or len(made) != len(images):
            shape = None if made is None else list(made.shape)
            raise UserError(
                f"--features={text} gave features {shape} of {len(images)} images; "
                f"[{len(images)}, D] is expected"
            )
        return found

    return Network(f"_{name}", lambda x: x, features, None, 64, {"features": text}, compiled=False)

"""What turns images into features, as `--features` of `jaxgan.evaluate` chooses it."""

import hashlib
import importlib
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxgan import experiment, logs, records, state_dicts, trained, workdir
from jaxgan.errors import UserError
from jaxgan.evaluators import unit
from jaxgan.files import digest
from jaxgan.metrics import inception, random_features
from jaxgan.pictures import to_uint8

# SHA-256 of the published weights: pt_inception-2015-12-05-6726825d.pth is named after its hash.
INCEPTION = "6726825d"
CLASSIFIER = "classifier:"
# What names of numbers end with, or hold, for other reasons.
TAKEN = ("random", "classifier", "given", "infinity", "std", "clean", "unknown_weights")


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
      logits: whether it gives any; None: unknown.
      classes: gives the names of the logits' classes, where they are known.
    """

    suffix: str
    prepare: Callable[[np.ndarray], np.ndarray]
    features: Callable[[Any, Any], Mapping[str, Any]]
    constants: Any
    chunk: int
    record: Mapping[str, Any]
    compiled: bool = True
    logits: bool | None = True
    classes: Callable[[], tuple[str, ...]] | None = None


def network(features: str, weights: str, resize: str) -> Network:
    """The network of `--features`.

    Args:
      features: inception, random, classifier:RUN, or module:function.
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
    if features.startswith(CLASSIFIER):
        return _classifier(features.removeprefix(CLASSIFIER))
    if ":" in features:
        return _own(features)
    raise UserError(
        f"--features={features} doesn't fit: it takes inception (with --weights=FILE), random, "
        "classifier:RUN, module:function, or FILE.npz"
    )


def _levels(images: np.ndarray) -> np.ndarray:
    """Values of 0 to 255, three channels."""
    levels = to_uint8(images)
    return np.broadcast_to(levels, (*levels.shape[:3], 3)).astype(np.float32)


def _random() -> Network:
    def features(kernels, images):
        return {"features": random_features.features(kernels, images)}

    kernels = random_features.weights()
    record = {
        "features": "random",
        "version": random_features.VERSION,
        "weights_sha256": hashed(kernels),
    }
    return Network("_random", unit, features, kernels, 64, record, logits=False)


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
    sha256 = digest(weights)
    variables = jax.tree.map(lambda x: x.astype(np.float32), variables)
    module = inception.InceptionV3(("2048", "logits_unbiased"))

    def features(variables, images):
        found = module.apply(variables, images)
        return {"features": found["2048"], "logits": found["logits_unbiased"]}

    record = {
        "features": "inception",
        "weights_sha256": sha256[:16],
        "weights_known": sha256.startswith(INCEPTION),
        "resize": resize,
    }
    # Another file's scores can't be compared with published ones, and are called so.
    suffix = "" if sha256.startswith(INCEPTION) else "_unknown_weights"
    if resize != "tf1":
        suffix += f"_{resize}"
    fit = inception.RESIZE[resize]
    return Network(suffix, lambda x: fit(_levels(x)), features, variables, 8, record)


def _classifier(folder: str) -> Network:
    """The classifier of a run: what it makes of images that are fitted to those it was shown."""
    train = "python -m jaxgan.main --config=configs/classifier.py trains one"
    if not folder:
        raise UserError(f"--features={CLASSIFIER} names no run of a classifier; {train}")
    run = trained.open_run(folder, prepare=False)  # it may be used beside another run
    if run.built.game.task != "classification":
        raise UserError(f"--features={CLASSIFIER}{folder} is a run of no classifier; {train}")
    # In float32, as all that scores are made of, whatever it was trained in.
    config = run.config.copy_and_resolve_references()
    config.precision = "float32"
    game = experiment.build(config, max(config.found.values())).game
    weights = jax.tree.map(lambda x: np.asarray(x, np.float32), run.weights)
    *_, size, _, channels = run.built.batch["image"].shape

    def features(weights, images):
        found = game.sample(weights, {"image": fitted(images, size, channels)})
        return {name: found[name] for name in ("features", "logits")}

    def classes():  # of the data that it was trained on
        return tuple(experiment.open_data(run.config, run.built.task).classes)

    scores = records.read(workdir.resolve(folder) / logs.SCORES)
    record = {
        "features": "classifier",
        "run": workdir.resolve(folder).name,
        "step": run.step,
        "weights_sha256": hashed(weights),
        "data": run.config.data.name,
        "accuracy": next(
            (s["accuracy"] for s in scores if s["step"] == run.step and "accuracy" in s), None
        ),
    }
    return Network("_classifier", unit, features, weights, 64, record, classes=classes)


def fitted(images: jax.Array, size: int, channels: int) -> jax.Array:
    """Images [N, H, W, C] as [N, size, size, channels]: grey is the mean of colours.

    Raises:
      UserError: for other numbers of channels that differ.
    """
    n, height, width, there = images.shape
    if there != channels and 1 not in (there, channels):
        raise UserError(
            f"this classifier was trained on images of {channels} channels, and these have {there}"
        )
    if channels == 1:
        images = images.mean(-1, keepdims=True)
    images = jnp.broadcast_to(images, (n, height, width, channels))
    if (height, width) == (size, size):
        return images
    return jax.image.resize(images, (n, size, size, channels), "linear")  # antialiased


def hashed(tree: Any) -> str:
    """Of all arrays of a tree, and their places in it."""
    whole = hashlib.sha256()
    for path, array in jax.tree_util.tree_leaves_with_path(tree):
        array = np.ascontiguousarray(array)
        whole.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape}".encode())
        whole.update(array.tobytes())
    return whole.hexdigest()[:16]


def _own(text: str) -> Network:
    """A function of one's own: uint8 or float32 [N, H, W, C] to [N, D], or to a mapping."""
    module, _, name = text.partition(":")
    sys.path.insert(0, os.getcwd())  # as for a script, whose neighbours can be imported
    try:
        imported = importlib.import_module(module)
        function = getattr(imported, name)
    except Exception as error:  # whatever is in that file
        what = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(f"--features={text} can't be imported: {what}") from error
    finally:
        sys.path.pop(0)
    if name in TAKEN:
        raise UserError(
            f"--features={text}: numbers would be called after `{name}`, which says something else "
            "here; give the function another name"
        )
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

    file = getattr(imported, "__file__", None)
    record = {"features": text, "code_sha256": digest(file)[:16] if file else None}
    own = {"compiled": False, "logits": None}
    return Network(f"_{name}", lambda x: x, features, None, 64, record, **own)

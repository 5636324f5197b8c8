"""Scores of a run's samples, of two sets of images, or of two sets of features.

    python -m jaxgan.evaluate --workdir=RUN --metrics=fid,prdc

compares what a run makes of noise with what it was trained on (or with `--real`), as many samples
as there are real images, at most 50,000 (`--num`), of the noise of `--sample_seed`.
`--step=latest`, `best`, a number, or `all` checkpoints that are there; `--weights=ema` or `raw`.
Each result is a line of the run's scores.jsonl, with all that it depends on.

    python -m jaxgan.evaluate --real=FOLDER_OR_NPZ --fake=FOLDER_OR_NPZ --metrics=fid,kid,prdc

prints a line for each number, `fid_random 12.345`, and with `--json` a JSON object of all of them
as the last line. A folder's pictures are found in sub-folders, too; a `.npz` or `.npy` file holds
images [N, H, W, C], uint8 or floats in [-1, 1]. All images of both have one size; `--size=64` fits
them to one. `--num=1000` takes the first so many of each.

Metrics: fid, kid, is (Inception Score), prdc (precision, recall, density, coverage). Of features:

    --features=random                 a fixed untrained network; numbers end with `_random`
    --features=inception --weights=FILE   FID's own, `--resize=tf1` (published) or `clean`;
                                      with a run's: --weights=ema,FILE
    --features=module:function        your own: images [N, H, W, C] to an array [N, D]
    --features=FILE.npz               arrays `real` and `fake` [N, D], perhaps `fake_logits`

Real ones may also be statistics, a `.npz` of `mu` and `sigma`, for fid alone;
`--save_stats=FILE.npz` writes such. What the features of the real set are is kept in the user's
cache folder, by the content of its files (`--nocache` doesn't). `--neighbours=3` (precision,
recall) and `--wide_neighbours=5` (density, coverage), `--subsets=100 --subset_size=1000` (KID; no
subsets: all at once), `--splits=10` (is) and `--seed` change what these are.

What the metrics mean, and what makes two of them incomparable: docs/metrics.md.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from jaxgan import (
    allocation,
    awake,
    commandline,
    gathering,
    logs,
    machine,
    records,
    run_images,
    trained,
    workdir,
)
from jaxgan.data import image_sets
from jaxgan.errors import UserError
from jaxgan.files import digest, expanded
from jaxgan.metrics import frechet, networks, scores
from jaxgan.metrics.networks import Network
from jaxgan.metrics.scores import Gathered, Settings

COMMAND = "python -m jaxgan.evaluate"
MOST = 50_000  # samples of a run, unless more are asked for
FLAGS = {
    "workdir": "",
    "step": "latest",
    "sample_seed": 0,
    "real": "",
    "fake": "",
    "metrics": "fid",
    "features": "random",
    "weights": "",
    "resize": "tf1",
    "size": 0,
    "num": 0,
    "json": False,
    "save_stats": "",
    "cache": True,
    **Settings()._asdict(),
}


def main(argv: Sequence[str]) -> int:
    """Runs the command; `argv` is without the program's name. Returns the exit code."""
    return commandline.run(_main, argv)


def _main(argv: Sequence[str]) -> int:
    if commandline.wants_help(argv):
        print(__doc__.strip())
        return 0
    flags = commandline.parse_flags([_underscored(word) for word in argv], FLAGS)
    names = _chosen(flags["metrics"])
    settings = Settings(**{field: flags[field] for field in Settings._fields})
    _require_sense(flags, settings)
    allocation.keep()
    if flags["workdir"]:
        return _score_run(flags, names, settings)
    for name in ("step", "sample_seed"):
        if flags[name] != FLAGS[name]:
            raise UserError(f"--{name} is of a run; add --workdir=RUN, or leave it out")
    machine.prepare("float32", deterministic=False)
    with awake.cores("auto", jax.default_backend()):
        suffix, real, fake = _gathered(flags, names)
        values = _values(names, suffix, real, fake, settings)
    _tell(values, flags["json"])
    return 0


def _score_run(flags: dict, names: Sequence[str], settings: Settings) -> int:
    """Scores of one checkpoint or of all; each is a line of the run's scores.jsonl."""
    for name in ("fake", "save_stats"):
        if flags[name]:
            raise UserError(f"--{name} is for two sets; leave it out, or --workdir")
    if flags["features"].endswith(".npz"):
        raise UserError(f"--features={flags['features']} brings features; leave out --workdir")
    which, file = _split(flags["weights"])
    folder, steps = flags["workdir"], [flags["step"]]
    if flags["step"] == "all":
        steps = [str(step) for step in trained.steps(folder)]
    net = networks.network(flags["features"], file, flags["resize"])
    real = None
    for step in steps:
        run = trained.open_run(folder, step, which)
        run_images.require_noise(run, folder)
        with awake.cores("auto", run.built.platform):
            if real is None:
                own = None if flags["real"] else run_images.real(run)
                real = _real(flags, names, net, own, 0)
            num = flags["num"] or min(real.gathered.gaussian.count or MOST, MOST)
            making = run_images.Making(run, num, flags["sample_seed"], f"samples of {folder}")
            fake, shape = gathering.gather(f"step {run.step}", net, making, _takes(names))
            if real.shape and real.shape[:2] != shape[:2]:
                (a, b), (c, d) = real.shape[:2], shape[:2]
                raise UserError(
                    f"real images are {b} x {a} and the run's {d} x {c}; --size={c} fits the real "
                    "ones"
                )
            _require_one_width(flags, real.gathered, fake)
            found = _values(names, net.suffix, _as_many(real.gathered, num), fake, settings)
        how = {
            "metrics": list(names),
            "settings": settings._asdict(),
            "network": dict(net.record),
            "real": _record(real, flags["real"]),
            "fake": {"count": num, "seed": flags["sample_seed"], "weights": run.kind},
            **workdir.provenance(),
        }
        records.append(workdir.resolve(folder) / logs.SCORES, run.step, found | {"how": how})
        _tell(found, flags["json"] and step == steps[-1], f"step {run.step} " * (len(steps) > 1))
    return 0


class Real(NamedTuple):
    """The real side of a comparison.

    Attributes:
      gathered: what scores take of it.
      shape: of one image; None of statistics, which have none.
      images: what it was made of; None of statistics.
    """

    gathered: Gathered
    shape: tuple[int, ...] | None = None
    images: image_sets.ImageSet | None = None


def _real(
    flags: dict, names: Sequence[str], net: Network, own: image_sets.ImageSet | None, num: int
) -> Real:
    """`--real`, be it images or statistics, or a run's `own` images."""
    if own is None and (statistics := _statistics(flags["real"], names)):
        return Real(statistics)
    images = own or image_sets.open_set(flags["real"], flags["size"])
    takes = _takes(names) & {"features"}
    return Real(*gathering.features("real", net, images, num, takes, flags["cache"]), images)


def _record(real: Real, path: str) -> dict[str, Any]:
    """What a score's line says of its real side, which may be statistics at `path`."""
    count = real.gathered.gaussian.count
    if real.images is None:
        return {"name": path, "digest": digest(path)[:16], "count": count}
    name, _, hashed, size = real.images
    return {"name": name, "digest": hashed(), "size": size, "count": count}


def _takes(names: Sequence[str]) -> set[str]:
    return {part for name in names for part in scores.SCORES[name].takes}


def _require_one_width(flags: dict, real: Gathered, fake: Gathered) -> None:
    if real.gaussian.mean.shape != fake.gaussian.mean.shape:
        raise UserError(
            f"--real={flags['real']} is of features of {real.gaussian.mean.size} numbers, and "
            f"--features={flags['features']} makes {fake.gaussian.mean.size}"
        )


def _as_many(real: Gathered, num: int) -> Gathered:
    """Features of as many real images as there are fakes; FID's Gaussian stays that of all.

    Neighbours are nearer among more images, so that shares of sets of different size say little.
    """
    if real.features is None or len(real.features) <= num:
        return real
    chosen = np.random.default_rng(0).choice(len(real.features), num, replace=False)
    return real._replace(features=real.features[np.sort(chosen)])


def _split(weights: str) -> tuple[str, str]:
    """`ema`, a file, or `ema,FILE`: which of a run's weights, and those of Inception."""
    first, _, rest = weights.partition(",")
    if first in ("auto", "ema", "raw"):
        return first, rest
    return "auto", weights


def _values(
    names: Sequence[str], suffix: str, real: Gathered, fake: Gathered, settings: Settings
) -> dict[str, float]:
    _require_enough(names, settings, real, fake)
    found = scores.compute(names, real, fake, settings)
    return {f"{name}{suffix}": value for name, value in found.items()}


def _tell(values: Mapping[str, float], as_json: bool, before: str = "") -> None:
    for name, value in values.items():
        print(f"{before}{name} {value:.6g}")
    if as_json:
        print(json.dumps(values))


def _underscored(word: str) -> str:
    """`--save-stats=FILE` as `--save_stats=FILE`."""
    if not word.startswith("--"):
        return word
    name, equals, value = word[2:].partition("=")
    return f"--{name.replace('-', '_')}{equals}{value}"


def _chosen(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in scores.SCORES:
            raise UserError(
                f"--metrics={text}: there is no {name!r}; "
                + commandline.nearest(name, list(scores.SCORES))
            )
    if not names:
        raise UserError(f"--metrics names none; it takes {', '.join(scores.SCORES)}")
    return list(dict.fromkeys(names))


def _require_sense(flags: dict, settings: Settings) -> None:
    """
    Raises:
      UserError: for numbers that make no sense.
    """
    least = {"size": 0, "num": 0, "subsets": 0, "seed": 0}
    for name in ("size", "num", *Settings._fields):
        if flags[name] < least.get(name, 1):
            raise UserError(
                f"--{name}={flags[name]} doesn't fit: it takes a number from {least.get(name, 1)}"
            )
    if settings.subset_size < 2:
        raise UserError("--subset_size=1 doesn't fit: a distance takes at least 2 of each")


def _gathered(flags: dict, names: Sequence[str]) -> tuple[str, Gathered, Gathered]:
    """The suffix of scores' names, and what there is of both sets."""
    if flags["features"].endswith(".npz"):
        for name in ("real", "fake", "weights", "save_stats"):
            if flags[name]:
                raise UserError(
                    f"--features={flags['features']} brings the features of both sets; leave out "
                    f"--{name}"
                )
        return "_given", *_given(flags["features"])
    for name in ("real", "fake"):
        if not flags[name]:
            raise UserError(
                f"--{name} is missing; try: {COMMAND} --real=FOLDER --fake=FOLDER --metrics=fid"
            )
    net = networks.network(flags["features"], flags["weights"], flags["resize"])
    real = _real(flags, names, net, None, flags["num"])
    if flags["save_stats"] and not real.shape:
        raise UserError(f"--real={flags['real']} is statistics already; leave out --save_stats")
    images = image_sets.open_set(flags["fake"], flags["size"])
    fake, shape = gathering.features("fake", net, images, flags["num"], _takes(names), cache=False)
    if real.shape and real.shape[:2] != shape[:2]:
        (a, b), (c, d) = real.shape[:2], shape[:2]
        raise UserError(
            f"real images are {b} x {a} and fake ones {d} x {c}; --size={min(a, b, c, d)} fits all "
            "to one size"
        )
    _require_one_width(flags, real.gathered, fake)
    if flags["save_stats"]:
        mean, covariance, count = real.gathered.gaussian
        kept = {"mu": mean, "sigma": covariance, "count": np.array(count)}
        gathering.write(expanded(flags["save_stats"]), kept)
    return net.suffix, real.gathered, fake


def _statistics(path: str, names: Sequence[str]) -> Gathered | None:
    """Published statistics, where a file holds `mu` and `sigma`; else None.

    Raises:
      UserError: for arrays that aren't statistics, or scores that need more than these.
    """
    file = expanded(path)
    if file.suffix != ".npz" or not file.is_file():
        return None
    arrays = image_sets.read_arrays(path, {"mu", "sigma", "count"}.intersection)
    if not {"mu", "sigma"} <= set(arrays):
        return None
    mean, covariance = (np.asarray(arrays[name], np.float64) for name in ("mu", "sigma"))
    if mean.ndim != 1 or covariance.shape != mean.shape * 2:
        raise UserError(
            f"{path} holds mu {list(mean.shape)} and sigma {list(covariance.shape)}; statistics "
            "of D features are [D] and [D, D]"
        )
    more = [name for name in names if "features" in scores.SCORES[name].takes]
    if more:
        raise UserError(
            f"{path} holds statistics alone, and {more[0]} needs the images themselves; "
            "--metrics=fid needs no more"
        )
    count = int(arrays["count"]) if "count" in arrays else 0
    return Gathered(frechet.Gaussian(mean, covariance, count))


def _given(path: str) -> tuple[Gathered, Gathered]:
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


def _require_enough(
    names: Sequence[str], settings: Settings, real: Gathered, fake: Gathered
) -> None:
    """
    Raises:
      UserError: for settings that need larger sets.
    """
    least = min(real.gaussian.count or fake.gaussian.count, fake.gaussian.count)
    if "prdc" in names:
        for name in ("neighbours", "wide_neighbours"):
            if getattr(settings, name) >= least:
                raise UserError(
                    f"of {least} images none has a neighbour number {getattr(settings, name)}; "
                    f"prdc takes more images, or a smaller --{name}"
                )
    if "kid" in names and settings.subsets and settings.subset_size > least:
        raise UserError(
            f"kid takes subsets of {settings.subset_size} images, and there are {least}; try "
            f"--subset_size={least}, or --subsets=0 for all at once"
        )
    if "is" in names and settings.splits > fake.gaussian.count:
        raise UserError(
            f"{fake.gaussian.count} images can't be split into {settings.splits}; try --splits=1"
        )
    if "is" in names and fake.logits is None:
        raise UserError("is (Inception Score) needs logits: an array `fake_logits`")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Scores of a run's samples, of two sets of images, or of two sets of features.

    python -m jaxgan.evaluate --workdir=RUN --metrics=fid,prdc

compares what a run makes with its data: samples of noise with the images that it was trained on (or
with `--real`), as many as there are, at most 50,000 (`--num`), of the noise of `--sample_seed`;
translations of its test images with those of the other side. `--step=latest`, `best`, a number, or
`all` checkpoints that are there; `--weights=ema` or `raw`. Each result is a line of the run's
scores.jsonl, with all that it depends on.

    python -m jaxgan.evaluate --table=RUN,RUN,RUN --metrics=fid

prints the last such line of each, side by side, and refuses where they can't be compared;
`--anyway` prints them all the same, and marks what differs.

    python -m jaxgan.evaluate --real=FOLDER_OR_NPZ --fake=FOLDER_OR_NPZ --metrics=fid,kid,prdc

prints a line for each number, `fid_random 12.345`, and with `--json` a JSON object of all of them
as the last line. A folder's pictures are found in sub-folders, too; a `.npz` or `.npy` file holds
images [N, H, W, C], uint8 or floats in [-1, 1]. All images of both have one size; `--size=64` fits
them to one. `--num=1000` takes the first so many of each.

Metrics of sets: fid, fid_infinity (of infinitely many fakes, extrapolated), kid, is (Inception
Score), prdc (precision, recall, density, coverage), diversity (within a class or sub-folder),
copies (of real images; `--nearest=FILE.png` shows the nearest ones), class_accuracy. Of features:

    --features=random                 a fixed untrained network; numbers end with `_random`
    --features=inception --weights=FILE   FID's own, `--resize=tf1` (published) or `clean`;
                                      with a run's: --weights=ema,FILE
    --features=classifier:RUN         of a run of configs/classifier.py: what it knows of classes
    --features=module:function        your own: images [N, H, W, C] to an array [N, D]
    --features=FILE.npz               arrays `real` and `fake` [N, D], perhaps `fake_logits`

Metrics of pairs: psnr, ssim, l1, of images with the same name in both folders (arrays: at the same
place), or of a run's translations and their truth; the pairs may be of many sizes. `--luma` takes
brightness alone, `--border=4` leaves out so many pixels on each side; `--each=FILE.csv` writes what
each image scores. Their intervals of re-sampling noise come with them; those of other metrics with
`--resamples=100`, which takes a hundred times as long.

Real ones may also be statistics, a `.npz` of `mu` and `sigma`, for scores that need no more;
`--save_stats=FILE.npz` writes such. No file that is there is replaced without `--overwrite`. What
the features of the real set are is kept in the user's cache folder, by the content of its files
(`--nocache` doesn't). `--neighbours=3` (precision, recall) and `--wide_neighbours=5` (density,
coverage), `--subsets=100 --subset_size=1000` (KID; no subsets: all at once), `--splits=10` (is) and
`--seed` change what these are.

What the metrics mean, and what makes two of them incomparable: docs/metrics.md.
"""

import csv
import io
import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from jaxgan import (
    allocation,
    awake,
    commandline,
    experiment,
    feature_files,
    gathering,
    logs,
    machine,
    nearest,
    records,
    score_table,
    scoring,
    trained,
    workdir,
)
from jaxgan.comparisons import Comparison, Fakes
from jaxgan.data import image_pairs, image_sets
from jaxgan.errors import UserError
from jaxgan.files import expanded, write_atomically
from jaxgan.metrics import networks, scores
from jaxgan.metrics.scores import Gathered, Settings
from jaxgan.scoring import Real, Wanted
from jaxgan.tasks import Task

COMMAND = "python -m jaxgan.evaluate"
OF_RUNS = {"step": "latest", "sample_seed": 0}
OF_PAIRS = {"luma": False, "border": 0, "each": ""}
FLAGS = {
    "workdir": "",
    **OF_RUNS,
    "table": "",
    "anyway": False,
    "real": "",
    "fake": "",
    "metrics": "fid",
    "features": "random",
    "weights": "",
    "resize": "tf1",
    "size": 0,
    "num": 0,
    **OF_PAIRS,
    "nearest": "",
    "json": False,
    "save_stats": "",
    "overwrite": False,
    "cache": True,
    **{name: value for name, value in Settings()._asdict().items() if name != "as_many"},
}


def main(argv: Sequence[str]) -> int:
    """Runs the command; `argv` is without the program's name. Returns the exit code."""
    return commandline.run(_main, argv, __doc__)


def _main(argv: Sequence[str]) -> int:
    flags = parsed(argv)
    if flags["table"]:
        return _table(flags)
    if flags["anyway"]:
        raise UserError("--anyway is for --table=RUN,RUN; leave it out")
    given = {field: flags[field] for field in _fields(flags)}
    settings = Settings(**given, as_many=bool(flags["workdir"]))
    _require_sense(flags, settings)
    if flags["nearest"] and expanded(flags["nearest"]).suffix.lower() != ".png":
        raise UserError(
            f"--nearest={flags['nearest']} is a picture; give it a name that ends in .png"
        )
    for name in ("each", "nearest", "save_stats"):
        if flags[name]:
            _require_free(f"--{name}", flags[name], flags)
    allocation.keep()
    if flags["workdir"]:
        return _score_run(flags, settings)
    for name, usual in OF_RUNS.items():
        if flags[name] != usual:
            raise UserError(f"--{name} is of a run; add --workdir=RUN, or leave it out")
    if flags["weights"] in ("ema", "raw", "auto"):
        raise UserError(
            f"--weights={flags['weights']} is of a run; add --workdir=RUN, or leave it out"
        )
    machine.prepare("float32", deterministic=False)
    with awake.cores("auto", jax.default_backend()):
        values = _score_sets(flags, settings)
    _tell(values, flags["json"])
    return 0


def parsed(argv: Sequence[str]) -> dict[str, Any]:
    """The command's flags as typed: `--save-stats=FILE` is `--save_stats=FILE`."""
    return commandline.parse_flags([_underscored(word) for word in argv], FLAGS)


def _require_free(name: str, path: str, flags: dict) -> None:
    """
    Raises:
      UserError: for a file that is there, unless it shall be replaced.
    """
    if not flags["overwrite"] and expanded(path).exists():
        raise UserError(f"{name}: {path} is there already; add --overwrite to replace it")


def _score_run(flags: dict, settings: Settings) -> int:
    """Scores of one checkpoint or of all; each is a line of the run's scores.jsonl."""
    for name in ("fake", "save_stats", "luma", "border"):
        if flags[name] != FLAGS[name]:
            raise UserError(f"--{name} is for two sets; leave it out, or --workdir")
    if flags["features"].endswith(".npz"):
        raise UserError(f"--features={flags['features']} brings features; leave out --workdir")
    which, file = _split(flags["weights"])
    folder, steps = flags["workdir"], [flags["step"]]
    if flags["size"] and not flags["real"]:
        raise UserError(f"--size={flags['size']} fits images of --real=FOLDER; leave it out")
    if flags["step"] == "all":
        for name in ("each", "nearest"):
            if flags[name]:
                raise UserError(f"--{name} is of one checkpoint; say which by --step")
        steps = [str(step) for step in trained.steps(folder)]
    first = trained.open_run(folder, steps[0], which)
    wanted = _wanted(flags, settings, file)
    for suffix in first.built.task.sides if flags["nearest"] else ():
        _require_free("--nearest", _nearest_file(flags["nearest"], suffix), flags)
    first.config.evaluate.num = flags["num"]  # of test images; those that it was trained with: few
    data = experiment.open_data(first.config, first.built.task)
    bench = first.built.task.bench(first.config, data, first.built.game)
    _require_made(wanted, bench, first, folder)
    reals, provenance = _reals(flags, wanted, first.built.task), workdir.provenance()
    for i, step in enumerate(steps):
        run = trained.open_run(folder, step, which) if i else first
        found, of_real, of_fake = {}, {}, {}
        with awake.cores("auto", run.built.platform):
            if wanted.sets:
                args = run.weights, flags["sample_seed"], flags["num"], reals, flags["cache"]
                if flags["nearest"]:
                    args = *args, partial(_show_made, flags["nearest"])
                found, of_real, of_fake = scoring.of_weights(wanted, bench, *args)
            if wanted.paired:
                names, each = bench.each(run.weights, flags["sample_seed"])
                each = scoring.chosen_pairs(wanted, each)
                found |= scores.of_images(each, settings)
                of_fake["pairs"] = sum(map(len, names.values()))
                _write_each(flags["each"], names, each)
        made_by = {
            "seed": flags["sample_seed"],
            "weights": run.kind,
            "weights_sha256": networks.hashed(run.weights),
            "trained_seed": run.config.seed,
        }
        how = scoring.how(wanted, of_real, of_fake | made_by)
        line = found | {"how": how | provenance}
        records.append(workdir.resolve(folder) / logs.SCORES, run.step, line)
        _tell(found, flags["json"] and i == len(steps) - 1, f"step {run.step} " * (len(steps) > 1))
    return 0


def _require_made(wanted: Wanted, bench, run: trained.Run, folder: str) -> None:
    """
    Raises:
      UserError: for a run that makes nothing that these scores are of.
    """
    trained.require_images(run, folder)
    if not any(net.startswith("generator") for net in run.weights):
        raise UserError(f"{folder} holds no generator, so nothing can be made with it")
    if wanted.sets and bench.compare is None:
        raise UserError(
            f"{folder} makes nothing that {wanted.sets[0]} can be of; its own scores are in "
            "scores.jsonl" + (", or try --metrics=psnr" if bench.each else "")
        )
    if wanted.paired and bench.each is None:
        raise UserError(
            f"{folder} makes images of noise, and there is no truth beside them, which "
            f"{wanted.paired[0]} needs; try --metrics=fid"
        )


def _reals(flags: dict, wanted: Wanted, task: Task) -> dict[str, Real]:
    """`--real`, where it is given, instead of a run's own images."""
    if not flags["real"]:
        return {}
    if task.sides != ("",) or not wanted.sets:
        raise UserError(
            "--real is for scores of one set of images that a run makes; leave it out, and this "
            "run's are compared with its own test images"
        )
    return {"": _opened(flags, wanted)}


def _wanted(flags: dict, settings: Settings, weights: str) -> Wanted:
    args = flags["features"], weights, flags["resize"]
    wanted = scoring.wanted("--metrics", flags["metrics"], settings, *args)
    if flags["nearest"] and "copies" not in wanted.sets:
        raise UserError("--nearest shows what copies is about; add it to --metrics")
    unread = [name for name in OF_PAIRS if flags[name] != OF_PAIRS[name]]
    if unread and not wanted.paired:
        raise UserError(
            f"--{unread[0]} is for {', '.join(scores.PAIRED)}, and --metrics={flags['metrics']}; "
            "leave it out"
        )
    return wanted


def _opened(flags: dict, wanted: Wanted, num: int = 0) -> Real:
    """`--real`, be it images or statistics."""
    if statistics := feature_files.statistics(flags["real"], wanted.sets, wanted.net):
        return scoring.of_file(flags["real"], statistics)
    images = image_sets.open_set(flags["real"], flags["size"])
    return scoring.real_side(wanted, images, num, flags["cache"])


def _split(weights: str) -> tuple[str, str]:
    """`ema`, a file, or `ema,FILE`: which of a run's weights, and those of Inception."""
    first, _, rest = weights.partition(",")
    if first in ("auto", "ema", "raw"):
        return first, rest
    return "auto", weights


def _tell(values: Mapping[str, float], as_json: bool, before: str = "") -> None:
    for name, value in values.items():
        print(f"{before}{name} {value:.6g}")
    if as_json:
        print(json.dumps({name: _plain(value) for name, value in values.items()}))


def _plain(value: float) -> float | str:
    """JSON has no infinity, which the PSNR of equal images is."""
    return value if np.isfinite(value) else str(value)


def _underscored(word: str) -> str:
    """`--save-stats=FILE` as `--save_stats=FILE`."""
    if not word.startswith("--"):
        return word
    name, equals, value = word[2:].partition("=")
    return f"--{name.replace('-', '_')}{equals}{value}"


def _fields(flags: dict) -> list[str]:
    """Of the settings, those that are flags."""
    return [name for name in Settings._fields if name in flags]


def _require_sense(flags: dict, settings: Settings) -> None:
    """
    Raises:
      UserError: for numbers that make no sense.
    """
    least = {"size": 0, "num": 0, "border": 0, "subsets": 0, "seed": 0, "resamples": 0}
    for name in ("size", "num", "border", *_fields(flags)):
        if flags[name] < least.get(name, 1):
            raise UserError(
                f"--{name}={flags[name]} doesn't fit: it takes a number from {least.get(name, 1)}"
            )
    if settings.subset_size < 2:
        raise UserError("--subset_size=1 doesn't fit: a distance takes at least 2 of each")
    if settings.resamples == 1:
        raise UserError("--resamples=1 doesn't fit: an interval takes at least 2, better 100")


def _score_sets(flags: dict, settings: Settings) -> dict[str, float]:
    """Numbers of `--real` and `--fake`, or of given features."""
    if flags["features"].endswith(".npz"):
        return _score_given(flags, settings)
    for name in ("real", "fake"):
        if not flags[name]:
            raise UserError(
                f"--{name} is missing; try: {COMMAND} --real=FOLDER --fake=FOLDER --metrics=fid"
            )
    wanted, found = _wanted(flags, settings, flags["weights"]), {}
    if wanted.sets:
        real = _opened(flags, wanted, flags["num"])
        if flags["save_stats"] and not real.shape:
            raise UserError(f"--real={flags['real']} is statistics already; leave out --save_stats")
        images = image_sets.open_set(flags["fake"], flags["size"])
        fake, shape = gathering.features(
            "fake", wanted.net, images, flags["num"], wanted.takes, cache=False
        )
        found = scoring.compared(wanted, real, fake, shape)
        if flags["nearest"]:
            read = [image_sets.Reading(side, flags["num"]) for side in (images, real.images)]
            nearest.show(flags["nearest"], *read, real.gathered, fake)
        if flags["save_stats"]:
            feature_files.write_statistics(flags["save_stats"], real.gathered, wanted.net)
    elif flags["save_stats"]:
        raise UserError("--save_stats is for --metrics=fid and the like; leave it out")
    if wanted.paired:
        sides = (image_sets.open_set(flags[name], flags["size"]) for name in ("real", "fake"))
        names, each = image_pairs.scored(
            *sides, wanted.paired, flags["num"], flags["luma"], flags["border"]
        )
        each = scoring.chosen_pairs(wanted, each)
        found |= scores.of_images(each, settings)
        _write_each(flags["each"], names, each)
    return found


def _score_given(flags: dict, settings: Settings) -> dict[str, float]:
    """Numbers of the features of both sets, which a file brings."""
    for name in ("real", "fake", "weights", "save_stats", "nearest"):
        if flags[name]:
            raise UserError(
                f"--features={flags['features']} brings the features of both sets; leave out "
                f"--{name}"
            )
    sets, paired = scoring.chosen("--metrics", flags["metrics"])
    if paired:
        raise UserError(
            f"{paired[0]} is of images, and --features={flags['features']} brings features alone"
        )
    real, fake = feature_files.features(flags["features"])
    wanted = Wanted(sets, (), settings, None, "_given")
    return scoring.compared(wanted, scoring.of_file(flags["features"], real), fake, None)


def _show_made(path: str, one: Comparison, fakes: Fakes, real: Real, fake: Gathered) -> None:
    """`--nearest` of a run; of one that translates both ways a file for each."""
    nearest.show(
        _nearest_file(path, one.suffix), fakes, image_sets.Reading(real.images), real.gathered, fake
    )


def _nearest_file(path: str, suffix: str) -> str:
    file = expanded(path)
    return str(file.with_name(f"{file.stem}{suffix}{file.suffix}"))


def _write_each(
    path: str, names: Mapping[str, Sequence[str]], each: Mapping[str, np.ndarray]
) -> None:
    """What each image scores, as CSV: a line for each image of each set.

    Args:
      path: of the file; "": none is written.
      names: end of the scores' names -> the images' names.
      each: name -> [N].
    """
    if not path:
        return
    ends = {name: max((e for e in names if name.endswith(e)), key=len) for name in each}
    columns = list(dict.fromkeys(name.removesuffix(end) for name, end in ends.items()))
    out = io.StringIO()
    lines = csv.writer(out, lineterminator="\n")
    lines.writerow(["set", "image", *columns])
    for end, images in names.items():
        there = {name.removesuffix(end): each[name] for name, e in ends.items() if e == end}
        for i, image in enumerate(images):
            values = [float(there[c][i]) if c in there else "" for c in columns]
            lines.writerow([end.lstrip("_"), image, *values])
    write_atomically(expanded(path), out.getvalue().encode())


def _table(flags: dict) -> int:
    """The runs' scores side by side."""
    names = ("table", "metrics", "anyway")
    unread = [n for n in FLAGS if n not in names and flags[n] != FLAGS[n]]
    if unread:
        raise UserError(f"--{unread[0]} isn't of --table, which prints scores that are there")
    sets, paired = scoring.chosen("--metrics", flags["metrics"])
    runs = [run for run in flags["table"].split(",") if run]
    print(score_table.table(runs, (*sets, *paired), flags["anyway"]))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Downloads and prepares a data set of TensorFlow Datasets, to train on it without TensorFlow:

    python -m jaxgan.data.prepare cycle_gan/horse2zebra
    python -m jaxgan.main --config=configs/cyclegan.py:folder \\
        --config.data.name=tfds:cycle_gan/horse2zebra

A published set needs a network and TensorFlow: pip install -c constraints.txt -e ".[tfds]"
NAME[/CONFIG][:VERSION] is TFDS's, or MODULE:BUILDER[/CONFIG] a builder of your own, with MODULE.py
in the folder that the command is run from; such a one may do without either.

- `--data_dir=`: where prepared sets and downloads lie; TFDS's default (TFDS_DATA_DIR, or
  ~/tensorflow_datasets) where it isn't given. Training finds it by --config.data.path.
"""

import difflib
import importlib.util
import os
import shlex
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from jaxgan import commandline
from jaxgan.data import tfds
from jaxgan.errors import UserError

INSTALL = 'pip install -c constraints.txt -e ".[tfds]"'
CATALOG = "https://www.tensorflow.org/datasets/catalog"
FLAGS = {"data_dir": ""}
INTERRUPTED = 130


def main(argv: Sequence[str]) -> int:
    """Runs the command; `argv` is without the program's name. Returns the exit code."""
    try:
        return commandline.run(_main, argv, __doc__)
    except KeyboardInterrupt:
        print("interrupted; nothing half-prepared will be taken for a data set", file=sys.stderr)
        return INTERRUPTED


def _main(argv: Sequence[str]) -> int:
    flags = commandline.parse_flags(argv, FLAGS, "name")
    text = flags.get("name", "")
    if not text:
        raise UserError(f"no data set is named; try: {tfds.COMMAND} {tfds.EXAMPLE}")
    root = tfds.data_dir(flags["data_dir"])
    own = ":" in text.partition("/")[0] and tfds.NAME.fullmatch(text) is None
    builder = own_builder(text, root) if own else published_builder(text, root)
    there = (Path(builder.data_path) / "dataset_info.json").is_file()
    if there:
        _require_format(builder)
    else:
        _require_tensorflow(text, own)
        _require_writable(root)
        _prepare(builder, text, own)
    _tell(builder, flags["data_dir"], there)
    return 0


def published_builder(text: str, root: Path) -> Any:
    """TFDS's builder of a name.

    Raises:
      UserError: for an unknown name, config or version.
    """
    library = tfds.library()
    name = tfds.parse(text)
    there = tfds.versions(root / name.dataset / name.config)
    if name.version in there or (there and not name.version):
        # May be of a builder of one's own, whose code TFDS doesn't know.
        _, folder = tfds.find(tfds.PREFIX + text, os.fspath(root))
        return library.builder_from_directory(os.fspath(folder))
    try:
        configs = list(library.builder_cls(name.dataset).builder_configs)
    except library.core.registered.DatasetNotFoundError:
        known = library.list_builders(with_community_datasets=False)  # theirs need a network
        close = difflib.get_close_matches(name.dataset, known, n=1, cutoff=0.5)
        hint = f"did you mean {close[0]!r}?" if close else f"TFDS's are listed at {CATALOG}"
        raise UserError(f"TFDS has no data set {name.dataset!r}; {hint}") from None
    if configs and name.config not in configs:
        wrong = f"no config {name.config!r}" if name.config else "several configs, so name one"
        hint = commandline.nearest(name.config, configs)
        raise UserError(f"{name.dataset} has {wrong}; {hint}")
    if name.config and not configs:
        raise UserError(f"{name.dataset} has no configs; leave out {'/' + name.config!r}")
    return _built(library.builder_cls(name.dataset), name, root, text)


def own_builder(text: str, root: Path) -> Any:
    """A builder of the user's own, `module:Builder` or `module:Builder/config`.

    Raises:
      UserError: where it can't be imported or is no builder.
    """
    from jaxgan.experiment import choose

    place, _, config = text.partition("/")
    library, made = tfds.library(), choose("NAME", place, {})
    if not isinstance(made, type) or not issubclass(made, library.core.DatasetBuilder):
        raise UserError(f"{place} is no builder; it should be a tfds.core.GeneratorBasedBuilder")
    return _built(made, tfds.Name(made.name, config, ""), root, text)


def _built(made: type, name: tfds.Name, root: Path, text: str) -> Any:
    chosen = {"config": name.config, "version": name.version}
    chosen = {field: value for field, value in chosen.items() if value}
    try:
        # Without a format, which it would refuse where the set lies there in another.
        return made(data_dir=os.fspath(root), **chosen)
    except Exception as error:  # TFDS raises AssertionError and others
        raise UserError(f"{text} can't be prepared ({_said(error)})") from error


def _require_format(builder: Any):
    formats = sorted(kind.value for kind in builder.info.available_file_formats())
    if tfds.FORMAT not in formats:
        raise UserError(
            f"{builder.data_path} was prepared as {', '.join(formats)}, which can't be read in any "
            "order; delete that folder and repeat the command, or name another with --data_dir=DIR"
        )


def _require_writable(root: Path):
    try:
        root.mkdir(parents=True, exist_ok=True)
        reason = "" if os.access(root, os.W_OK) else "no permission"
    except OSError as error:
        reason = error.strerror
    if reason:
        raise UserError(f"{root} can't be written ({reason}); name another with --data_dir=DIR")


def _require_tensorflow(text: str, own: bool):
    if not own and importlib.util.find_spec("tensorflow") is None:
        raise UserError(
            f"{text} is prepared with TensorFlow, which is not installed; run: {INSTALL}. Without "
            "it, unzip the published archive and train with --config.data.name=folder "
            "--config.data.path=DIR"
        )


def _prepare(builder: Any, text: str, own: bool):
    try:
        builder.download_and_prepare(file_format=tfds.FORMAT)
    except ImportError as error:
        raise UserError(f"{text} can't be prepared ({error}); run: {INSTALL}") from error
    except Exception as error:  # of TFDS, requests, the disk, or the user's own
        if _is_of_the_network(error):
            raise UserError(
                f"{text} can't be downloaded ({_said(error)}); repeat the command where there is "
                "a network. An archive from elsewhere, unzipped, is trained on with "
                "--config.data.name=folder --config.data.path=DIR"
            ) from error
        where = _line_of(error, type(builder).__module__) if own else ""
        raise UserError(f"{text} can't be prepared{where} ({_said(error)})") from error


def _is_of_the_network(error: Exception) -> bool:
    import requests  # what TFDS downloads with

    ours = tfds.library().download.util.DownloadError
    return isinstance(error, requests.RequestException | ours)


def _line_of(error: Exception, name: str) -> str:
    file = getattr(sys.modules.get(name), "__file__", "")
    steps = traceback.extract_tb(error.__traceback__)
    lines = [step.lineno for step in steps if step.filename == file]
    return f" at line {lines[-1]} of {file}" if lines else ""


def _said(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]


def _tell(builder: Any, data_dir: str, there: bool):
    name, _, version = builder.info.full_name.rpartition("/")
    counts = {split: info.num_examples for split, info in builder.info.splits.items()}
    shown = ", ".join(f"{count} in {split}" for split, count in counts.items())
    already = "was prepared already" if there else "is prepared"
    print(f"{name}:{version} {already} in {builder.data_path}: {shown}")
    domains = all(counts.get(split) for split in tfds.NEEDED)
    if not domains and not counts.get("train"):
        print(f"{name} has nothing to train on: no split train, and not both trainA and trainB")
        return
    config = "configs/cyclegan.py:folder" if domains else "configs/dcgan.py:folder"
    path = f" --config.data.path={shlex.quote(data_dir)}" if data_dir else ""
    print(
        f"Train on it: python -m jaxgan.main --config={config} "
        f"--config.data.name={tfds.PREFIX}{name}{path}"
    )


if __name__ == "__main__":
    code = main(sys.argv[1:])
    if code == INTERRUPTED:
        os._exit(code)  # TFDS's threads would go on downloading, and be waited for
    sys.exit(code)

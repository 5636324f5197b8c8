"""What a user types: `--config=FILE[:PRESETS] --config.FIELD=VALUE ... --workdir=FOLDER`.

ml_collections does the parsing; this file turns each mistake into a `UserError` of one or two
sentences and runs a command so that mistakes end with exit code 2 and no traceback.
"""

import difflib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from absl import flags
from ml_collections import ConfigDict, config_flags

from jaxgan.errors import NonFinite, UserError


class Command(NamedTuple):
    """A parsed command line.

    Attributes:
      config: presets and overrides applied.
      name: the config file's stem.
      presets: in the order given.
      overrides: dotted field -> value, as typed on the command line.
      flags: the other flags by name.
      argv: as typed.
    """

    config: ConfigDict
    name: str
    presets: tuple[str, ...]
    overrides: dict[str, Any]
    flags: dict[str, Any]
    argv: tuple[str, ...]


def nearest(word: str, among: Sequence[str]) -> str:
    """`; did you mean X?` or the list of what there is, to end a message with."""
    close = difflib.get_close_matches(word, list(among), n=1, cutoff=0.5)
    if close:
        return f"did you mean {close[0]!r}?"
    return "there is " + ", ".join(sorted(among))


def select_presets(text: str | None, presets: dict[str, Callable[[ConfigDict], None]], config):
    """Applies presets named `a,b,c` to a config, one after another.

    Raises:
      UserError: for a name that isn't in `presets`.
    """
    for name in filter(None, (text or "").split(",")):
        if name not in presets:
            raise UserError(f"unknown preset {name!r}: {nearest(name, list(presets))}")
        presets[name](config)
    return config


def parse(argv: Sequence[str], defaults: dict[str, Any], command: str) -> Command:
    """Parses a command line that has a `--config`.

    Args:
      argv: without the program's name.
      defaults: the command's other flags and their defaults; a default's type is the flag's.
      command: the program as typed, for messages.

    Raises:
      UserError: for any mistake, naming the nearest that would be right.
    """
    path, rest = _take_config(list(argv), command)
    path, _, text = path.partition(":")
    config = _load(path, text)
    values = flags.FlagValues()
    config_flags.DEFINE_config_dict("config", config, flag_values=values, sys_argv=rest)
    for name, default in defaults.items():
        define = {str: flags.DEFINE_string, int: flags.DEFINE_integer, bool: flags.DEFINE_bool}
        kind = str if default is None else type(default)
        define[kind](name, default, "", flag_values=values)
    try:
        left = values([command, *rest])[1:]
        config = values.config
    except AttributeError:
        raise UserError(_unknown_field(config, rest)) from None
    except flags.UnrecognizedFlagError as error:
        names = [*defaults, "config"]
        hint = nearest(error.flagname, names)
        raise UserError(f"unknown flag --{error.flagname}: {hint}") from None
    except (flags.Error, ValueError, TypeError, KeyError) as error:
        raise UserError(_bad_value(config, rest, error)) from None
    if left:
        raise UserError(f"don't know what to do with {left[0]!r}: flags look like --name=value")
    overrides = dict(config_flags.get_override_values(values["config"]))
    presets = tuple(filter(None, text.split(",")))
    others = {name: values[name].value for name in defaults}
    return Command(config, Path(path).stem, presets, overrides, others, tuple(argv))


def run(command: Callable[[Sequence[str]], int | None], argv: Sequence[str]) -> int:
    """Runs a command and tells its user's mistakes: exit code 2, or 3 for a NaN in training."""
    try:
        return command(argv) or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except NonFinite as error:
        print(f"error: {error}", file=sys.stderr)
        return 3


def _take_config(argv: list[str], command: str) -> tuple[str, list[str]]:
    for i, word in enumerate(argv):
        if word in ("--config", "-config") and i + 1 < len(argv):
            return argv[i + 1], argv[:i] + argv[i + 2 :]
        if word.startswith(("--config=", "-config=")):
            return word.partition("=")[2], argv[:i] + argv[i + 1 :]
    raise UserError(f"no config given; try: {command} --config=configs/cyclegan.py")


def _load(path: str, presets: str) -> ConfigDict:
    file = Path(path)
    if not file.is_file():
        folder = file.parent if file.parent.is_dir() else Path("configs")
        there = [str(p) for p in sorted(folder.glob("*.py"))]
        hint = nearest(path, there) if there else "configs lie in the project's folder configs/"
        raise UserError(f"there is no config file {path!r}; {hint}")
    spec = importlib.util.spec_from_file_location(f"config_{file.stem}", file)
    if spec is None or spec.loader is None:
        raise UserError(f"{path!r} is not a Python file; a config is one with a get_config()")
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise UserError(f"{path!r} can't be run: {type(error).__name__}: {error}") from None
    get_config = getattr(module, "get_config", None)
    if get_config is None:
        raise UserError(f"{path!r} has no get_config(), so it isn't a config")
    if not presets:
        return get_config()
    if not inspect.signature(get_config).parameters:
        raise UserError(f"{path!r} has no presets, so {presets!r} can't be applied")
    return get_config(presets)


def _fields(config: ConfigDict, prefix: str = "") -> dict[str, Any]:
    found = {}
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            found |= _fields(value, f"{prefix}{name}.")
        else:
            found[prefix + name] = value
    return found


def flat(config: ConfigDict) -> dict[str, Any]:
    """Dotted field -> value."""
    return _fields(config)


def _typed(argv: Sequence[str]) -> list[tuple[str, str]]:
    """(field, value) of every `--config.field=value` or `--config.field value`."""
    pairs = []
    for i, word in enumerate(argv):
        name = word.lstrip("-").removeprefix("no")
        if word.startswith("-") and name.startswith("config."):
            field, equals, value = name.removeprefix("config.").partition("=")
            pairs.append((field, value if equals else "".join(argv[i + 1 : i + 2])))
    return pairs


def _unknown_field(config: ConfigDict, argv: Sequence[str]) -> str:
    known = list(_fields(config))
    for field, _ in _typed(argv):
        if field not in known:
            last = [name for name in known if name.rpartition(".")[2] == field.rpartition(".")[2]]
            close = difflib.get_close_matches(field, known, n=1, cutoff=0.5) or last[:1]
            hint = f"did you mean --config.{close[0]}?" if close else nearest(field, list(config))
            return f"unknown field --config.{field}; {hint}"
    return "unknown field in " + " ".join(argv)


def _bad_value(config: ConfigDict, argv: Sequence[str], error: Exception) -> str:
    known = _fields(config)
    kinds = {int: "a whole number", float: "a number", bool: "true or false", str: "a word"}
    for field, value in _typed(argv):
        if field not in known:
            if isinstance(config.get(field, None), ConfigDict):
                return f"--config.{field} is a group of fields; set one, as --config.{field}.NAME"
            return _unknown_field(config, argv)
        kind = type(known[field])
        try:
            if kind is bool and value.lower() not in ("", "true", "false", "t", "f", "1", "0"):
                raise ValueError
            kind(value) if kind in (int, float) else None
        except ValueError:
            wanted = f"{kinds[kind]}, such as {known[field]}"
            return f"--config.{field}={value} doesn't fit: it takes {wanted}"
    return " ".join(str(error).split("\n")[0].split())

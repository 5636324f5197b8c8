"""Published PyTorch networks to a run, and back.

    python -m jaxgan.convert --workdir=runs/horse2zebra \\
        --generator_AtoB=latest_net_G_A.pth [--generator_BtoA=latest_net_G_B.pth] \\
        [--discriminator_A=latest_net_D_B.pth] [--discriminator_B=latest_net_D_A.pth]

makes a run's folder that `jaxgan.translate` and `--config.init.workdir` take, of one network or of
several: `.pth` files in both of PyTorch's formats, or `.safetensors`. PyTorch isn't needed, and
no code in a file is ever run. Mind the names: `discriminator_A` judges pictures of domain A, and
the published code calls it `D_B`. What the files don't tell is the config's:
`--config=configs/cyclegan.py:folder`, and `--config.FIELD=VALUE` for any field of it.

    python -m jaxgan.convert --workdir=runs/cyclegan-seed0 --export=FOLDER

writes a run's networks as `.safetensors` with the published names. `--step` and `--weights` as in
`jaxgan.translate`; files that are there already are replaced only with `--overwrite`.

    python -m jaxgan.convert --config=configs/dcgan.py --workdir=runs/theirs \\
        --generator=FILE [--discriminator=FILE]

does the same for DCGANs of others' code; which names it knows stands in `NAMES` of
jaxgan/models/published_dcgan.py. And

    python -m jaxgan.convert --config=configs/pix2pix.py:folder --workdir=runs/facades \\
        --generator=latest_net_G.pth [--discriminator=latest_net_D.pth]

for pix2pix and PixelGAN, with `--config.data.direction=BtoA` where they go that way. And

    python -m jaxgan.convert --config=configs/srgan.py --workdir=runs/srgan --generator=FILE

for SRResNets (SRGAN) and, with `configs/esrgan.py`, RRDB networks (ESRGAN, under BasicSR's names):
the scale, the number of blocks and their widths come from the file. `--export` writes the
generators of both under these names; their discriminators have none.
"""

import shlex
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxgan
from jaxgan import (
    commandline,
    experiment,
    fields,
    machine,
    state_dicts,
    trained,
    translate,
    workdir,
)
from jaxgan.checkpoint import Checkpoints, differing_shapes
from jaxgan.data import datasets
from jaxgan.errors import UserError
from jaxgan.files import digest, write_atomically
from jaxgan.models import published, published_dcgan
from jaxgan.models.published_rrdb import rrdb_from_published, rrdb_to_published
from jaxgan.models.published_srresnet import srresnet_from_published, srresnet_to_published

COMMAND = "python -m jaxgan.convert"
CONFIG = "configs/cyclegan.py"
DCGAN_CONFIG = "configs/dcgan.py"
PIX2PIX_CONFIG = "configs/pix2pix.py:folder"
SRGAN_CONFIG = "configs/srgan.py"
PUBLISHED = {  # after the generator that they teach, there
    "generator_AtoB": "G_A",
    "generator_BtoA": "G_B",
    "discriminator_A": "D_B",
    "discriminator_B": "D_A",
}
THEIRS = {theirs: ours for ours, theirs in PUBLISHED.items()}
THEIRS |= {"generator_A": "generator_AtoB", "generator_B": "generator_BtoA"}
FLAGS = {
    "workdir": "",
    **dict.fromkeys(PUBLISHED, ""),
    "generator": "",
    "discriminator": "",
    "export": "",
    "step": "latest",
    "weights": "auto",
    "overwrite": False,
}


class Published(NamedTuple):
    """How the networks of a game are published.

    Attributes:
      files: net -> its file's name when it is exported, without the suffix.
      read: (net, arrays) -> (the config's fields that they tell, variables); raises `UserError`,
        or whatever arrays lead to that are far off.
      write: (run, net) -> arrays under the published names.
      found: the names of the parts of its training data.
      use: (folder, nets) -> commands that use a run.
    """

    files: Mapping[str, str]
    read: Callable[[str, published.Arrays], tuple[dict[str, Any], dict[str, Any]]]
    write: Callable[[trained.Run, str], dict[str, np.ndarray]]
    found: tuple[str, ...]
    use: Callable[[str, Sequence[str]], list[str]]


def main(argv: Sequence[str]) -> int:
    """Runs the command; `argv` is without the program's name. Returns the exit code."""
    return commandline.run(_main, argv, __doc__)


def _main(argv: Sequence[str]) -> int:
    _require_our_names(argv)
    words = [*_default_config(argv), *argv]
    command = commandline.parse(words, FLAGS, COMMAND)
    flags = command.flags
    nets = dict.fromkeys(net for game in GAMES.values() for net in game.files)
    files = {net: flags[net] for net in nets if flags[net]}
    if not flags["workdir"] or bool(files) == bool(flags["export"]):
        raise UserError(
            "it takes --workdir, and either networks or --export; try: "
            f"{COMMAND} --workdir=runs/published --generator_AtoB=latest_net_G_A.pth"
        )
    for_export = [name for name in ("step", "weights", "overwrite") if flags[name] != FLAGS[name]]
    if files and for_export:
        raise UserError(f"--{for_export[0]} belongs to --export; leave it out")
    if flags["export"] and command.overrides:
        field = next(iter(command.overrides))
        raise UserError(f"--export takes the run's own config; leave out --config.{field}")
    if flags["export"]:
        run = trained.open_run(flags["workdir"], flags["step"], flags["weights"])
        for line in export(run, flags["export"], flags["overwrite"]):
            print(line)
        return 0
    _require_game(command.config.game, files)
    for line in convert(command, files, [*COMMAND.split(), *argv]):
        print(line)
    return 0


def _require_our_names(argv: Sequence[str]) -> None:
    """Refuses the published code's names, which mean another network than they seem to."""
    for word in argv:
        name, _, value = word.lstrip("-").partition("=")
        ours = THEIRS.get(name.removeprefix("net_"))
        if word.startswith("-") and ours:
            raise UserError(
                f"unknown flag --{name}; did you mean --{ours}={value}? The published code's G_A "
                "makes B of A, and its D_A judges B"
            )


def _require_game(game: str, files: Mapping[str, str]) -> None:
    """Refuses networks of another game than the config's."""
    if game not in GAMES:
        raise UserError(f"there are no published networks of game={game!r}; {_configs()}")
    nets = GAMES[game].files
    strange = [net for net in files if net not in nets]
    if strange:
        raise UserError(
            f"--{strange[0]} doesn't fit the config, whose networks are {', '.join(nets)}; "
            f"{_configs()}"
        )


def _configs() -> str:
    return (
        f"give --config={DCGAN_CONFIG} for a DCGAN, --config={PIX2PIX_CONFIG} for a pix2pix, "
        f"--config={SRGAN_CONFIG} for super-resolution, or --config={CONFIG} for a CycleGAN"
    )


def _default_config(argv: Sequence[str]) -> list[str]:
    """`--config` where none is given: the one here, or that of the checkout."""
    if any(word.lstrip("-").partition("=")[0] == "config" for word in argv):
        return []
    beside = Path(jaxgan.__file__).parents[1] / CONFIG
    path = beside if beside.exists() and not Path(CONFIG).exists() else CONFIG
    return [f"--config={path}:folder"]


def convert(
    command: commandline.Command, files: Mapping[str, str], typed: Sequence[str]
) -> list[str]:
    """Makes a run's folder of published networks.

    Args:
      command: `config` has what the files don't tell, `flags["workdir"]` the folder.
      files: net -> file.
      typed: the command, word by word.

    Returns:
      What to tell the user.

    Raises:
      UserError: a file that can't be used, networks that don't belong together, or a folder that
        holds something else.
    """
    game = GAMES[command.config.game]
    arguments, nets = {}, {}
    for net, file in files.items():
        arguments[net], nets[net] = network(game, net, file)
    given = _agreed(arguments)
    before = commandline.flat(command.config)
    absent = [field for field in given if field not in before]
    if absent:
        raise UserError(
            f"the config lacks {absent[0]}, which the files' networks have; {_configs()}"
        )
    for field, value in given.items():
        if command.overrides.get(field, value) != value:
            raise UserError(
                f"--config.{field}={command.overrides[field]} doesn't fit the files, whose "
                f"networks have {value}; leave it out"
            )
    other = {f: v for f, v in given.items() if before[f] != v}
    command.config.update_from_flattened_dict(given)
    config = fields.resolve(command.config, command.overrides)
    machine.prepare(config.precision, config.deterministic)
    built = experiment.build(config, 0)
    template = built.template()
    for net, variables in nets.items():
        nets[net] = _fitted(f"--{net}={files[net]}", variables, template.variables(net))
    record = {
        **config.to_dict(),
        "found": dict.fromkeys(game.found, 0),
        # No config that trains has this part: training here would begin with other weights.
        "converted": {net: digest(file)[:16] for net, file in files.items()},
    }
    folder = workdir.resolve(command.flags["workdir"])
    workdir.check(folder, record, typed)
    with workdir.Lock(folder), Checkpoints(folder) as checkpoints:
        if not workdir.check(folder, record, typed).resume or checkpoints.latest() is None:
            workdir.record(folder, record, typed)
            state = {
                "params": {net: variables["params"] for net, variables in nets.items()},
                "stats": {
                    net: {name: v for name, v in variables.items() if name != "params"}
                    for net, variables in nets.items()
                    if len(variables) > 1
                },
            }
            checkpoints.save(0, {k: v for k, v in state.items() if v}, {}, record, wait=True)
    return _advice(command, game, list(nets), command.overrides | other)


def _advice(
    command: commandline.Command, game: Published, nets: Sequence[str], other: Mapping[str, Any]
) -> list[str]:
    """How to use what was made; `other` are its fields that the named config has otherwise."""
    base, _ = commandline.take_config(command.argv)
    folder = shlex.quote(command.flags["workdir"])
    lines = [f"{folder} holds {', '.join(nets)}. To use it:"]
    lines += [f"  {line}" for line in game.use(folder, nets)]
    path = {} if command.config.data.name in datasets.DRAWN else {"data.path": "DIR"}
    if "pretraining" in command.config:  # what was converted has it behind itself
        path = path | {"pretraining.steps": 0}
    fields_given = path | {"init.workdir": folder, "init.nets": ",".join(nets)} | dict(other)
    lines.append(
        f"  python -m jaxgan.main --config={shlex.quote(base)}"
        + "".join(f" --config.{field}={value}" for field, value in fields_given.items())
    )
    return lines


def network(game: Published, net: str, file: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The config's fields that a file of published weights tells, and the variables in it.

    Args:
      game: whose network it is.
      net: what it shall become, a name of `game.files`.
      file: `.pth` or `.safetensors`.

    Raises:
      UserError: a file that can't be used, or another network's.
    """
    arrays = state_dicts.read(file)
    bad = [name for name, array in arrays.items() if not np.all(np.isfinite(array))]
    if bad:
        raise UserError(f"--{net}={file}: {bad[0]} holds NaN or infinite values")
    try:
        return game.read(net, arrays)
    except UserError as error:
        raise UserError(f"--{net}={file}: {error}") from None
    except (ValueError, IndexError, KeyError, TypeError):  # names or shapes that are far off
        kind = net.partition("_")[0]
        raise UserError(f"--{net}={file}: no published {kind}'s names and shapes") from None


def _read_cyclegan(net: str, arrays: published.Arrays) -> tuple[dict[str, Any], dict[str, Any]]:
    if net.startswith("generator_"):
        arguments, variables = published.resnet_generator_from_published(arrays)
        kind = "resnet"
    else:
        kind, arguments, variables = _read_discriminator(arrays)
    params = variables["params"]
    channels = (params["first"] if kind == "resnet" else params["conv_0"])["kernel"].shape[2]
    if arguments.pop("channels", channels) != channels:
        raise UserError(
            f"it takes {channels} channels and gives another number of them; both "
            "domains of a run have the same"
        )
    group = f"model.{net.partition('_')[0]}"
    told = {f"{group}.{name}": value for name, value in ({"kind": kind} | arguments).items()}
    return {"data.channels": channels, **told}, variables


def _read_discriminator(arrays: published.Arrays) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """A discriminator of patches or of pixels: its kind, arguments and variables."""
    if any(name.startswith("net.") for name in arrays):
        return "pixel", *published.pixel_discriminator_from_published(arrays)
    return "patch", *published.patch_discriminator_from_published(arrays)


def _read_pix2pix(net: str, arrays: published.Arrays) -> tuple[dict[str, Any], dict[str, Any]]:
    if net == "generator":
        arguments, variables = published.unet_generator_from_published(arrays)
        kind, channels = "unet", variables["params"]["down_0"]["kernel"].shape[2]
        if arguments.pop("channels") != channels:
            raise UserError(
                f"it takes {channels} channels and gives another number of them; both halves of a "
                "pair have the same"
            )
        told = {}
    else:
        kind, arguments, variables = _read_discriminator(arrays)
        seen = variables["params"]["conv_0"]["kernel"].shape[2]
        # An even number of channels is a pair's: three or one alone are an output's.
        conditional = seen % 2 == 0
        channels = seen // 2 if conditional else seen
        told = {"model.discriminator.conditional": conditional}
    told |= {f"model.{net}.{name}": value for name, value in ({"kind": kind} | arguments).items()}
    return {"data.channels": channels} | told, variables


def _read_dcgan(net: str, arrays: published.Arrays) -> tuple[dict[str, Any], dict[str, Any]]:
    read = {
        "generator": published_dcgan.dcgan_generator_from_published,
        "discriminator": published_dcgan.dcgan_discriminator_from_published,
    }
    try:
        arguments, variables = read.pop(net)(arrays)
    except UserError as error:
        ((other, read_other),) = read.items()
        try:
            read_other(arrays)
        except UserError:
            raise error from None
        raise UserError(f"it holds a {other}; give it as --{other}") from None
    if net == "generator":
        size, channels = arguments.pop("size"), arguments.pop("channels")
        told = {"model.latent.size": published_dcgan.latent_size(variables)}
    else:
        size, channels = published_dcgan.image_shape(variables)
        told = {}
    told |= {"data.image_size": size, "data.channels": channels, f"model.{net}.kind": "dcgan"}
    return told | {f"model.{net}.{name}": value for name, value in arguments.items()}, variables


def _read_upscaling(net: str, arrays: published.Arrays) -> tuple[dict[str, Any], dict[str, Any]]:
    if "conv_first.weight" in arrays:
        kind, (arguments, variables) = "rrdb", rrdb_from_published(arrays)
    else:
        kind, (arguments, variables) = "srresnet", srresnet_from_published(arrays)
    told = {f"data.{name}": arguments.pop(name) for name in ("scale", "channels")}
    told |= {f"model.generator.{name}": v for name, v in ({"kind": kind} | arguments).items()}
    return told, variables


def _write_upscaling(run: trained.Run, net: str) -> dict[str, np.ndarray]:
    c = run.config.model.generator
    if c.kind == "rrdb":
        return rrdb_to_published(run.weights[net])
    for name, value in {"norm": "batch", "output": "tanh"}.items():
        if c[name] != value:  # the published code would make another picture of the same weights
            raise UserError(
                f"{net} has {name}={c[name]} and published SRResNets have {name}={value}, so it "
                f"can't be exported; runs with --config.model.generator.{name}={value} can"
            )
    return srresnet_to_published(run.weights[net])


def _agreed(arguments: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The fields that all networks together tell.

    Raises:
      UserError: where two of them tell different ones.
    """
    agreed, teller = {}, {}
    for net, told in arguments.items():
        for field, value in told.items():
            if agreed.setdefault(field, value) != value:
                raise UserError(
                    f"--{teller[field]} has {field}={agreed[field]} and --{net} has {value}; "
                    "networks of one run are alike, so convert them into two runs"
                )
            teller.setdefault(field, net)
    return agreed


def _fitted(what: str, variables: Any, template: Any) -> Any:
    """The variables as arrays of the template's types.

    Raises:
      UserError: naming what has another name or shape.
    """
    wrong = differing_shapes(variables, template)
    if wrong:
        raise UserError(f"{what} is of another architecture: {wrong}")
    return jax.tree.map(lambda x, t: jnp.asarray(np.asarray(x, t.dtype)), variables, template)


def export(run: trained.Run, output: str, overwrite: bool = False) -> list[str]:
    """Writes a run's networks as `.safetensors` files with the published names.

    Args:
      run: whose networks.
      output: the folder to write to.
      overwrite: whether files that are there may be replaced.

    Returns:
      What to tell the user.

    Raises:
      UserError: where the networks aren't published ones, or files are there.
    """
    folder = workdir.resolve(output)
    game = GAMES.get(run.config.game)
    names = game.files if game else {}
    files = {net: folder / f"{names[net]}.safetensors" for net in run.weights if net in names}
    if not files:
        raise UserError(
            f"networks named {', '.join(run.weights)} have no published names; only those of "
            "CycleGAN, pix2pix, super-resolution and DCGAN can be exported"
        )
    there = [path for path in files.values() if path.exists()]
    if there and not overwrite:
        raise UserError(f"{there[0]} would be replaced; name another folder, or add --overwrite")
    for net, arrays in {net: game.write(run, net) for net in files}.items():
        write_atomically(files[net], state_dicts.to_safetensors(arrays))
    return [f"{path}: {net} of step {run.step}" for net, path in files.items()]


def _write_translation(run: trained.Run, net: str) -> dict[str, np.ndarray]:
    g, d = run.config.model.generator, run.config.model.discriminator
    kind, norm = (g.kind, g.norm) if net.startswith("generator") else (d.kind, d.norm)
    if norm == "none":
        raise UserError(
            f"{net} has biases where published networks without a norm have none, so it can't be "
            "exported; networks with norm=instance or norm=batch can"
        )
    if kind == "resnet":
        return published.resnet_generator_to_published(
            run.weights[net], padding=g.padding, dropout=g.dropout
        )
    if kind == "patch":
        return published.patch_discriminator_to_published(run.weights[net])
    if kind == "pixel":
        return published.pixel_discriminator_to_published(run.weights[net])
    if kind == "unet":
        return published.unet_generator_to_published(run.weights[net])
    raise UserError(f"{net} is of the kind {kind!r}, for which there are no published names")


def _write_dcgan(run: trained.Run, net: str) -> dict[str, np.ndarray]:
    c = run.config.model[net]
    if c.kind != "dcgan":
        raise UserError(f"{net} is of the kind {c.kind!r}, for which there are no published names")
    if run.built.game.classes:
        raise UserError(
            f"{net} is of a conditional run (model.conditioning={run.config.model.conditioning}), "
            "for which there are no published names"
        )
    if c.get("spread"):
        raise UserError(
            f"{net} sees how far its batch spreads (model.{net}.spread), which published ones don't"
        )
    write = {
        "generator": published_dcgan.dcgan_generator_to_published,
        "discriminator": published_dcgan.dcgan_discriminator_to_published,
    }
    try:
        return write[net](run.weights[net], c.norm)
    except UserError as error:
        raise UserError(f"{net} can't be exported: {error}") from None


def _translations(folder: str, nets: Sequence[str]) -> list[str]:
    directions = [net.partition("_")[2] for net in nets if net.startswith("generator")]
    given = [f" --direction={direction}" if direction else "" for direction in directions]
    return [
        f"{translate.COMMAND} --workdir={folder}{words} --input=PICTURES --output=TRANSLATED"
        for words in given
    ]


def _enlargements(folder: str, nets: Sequence[str]) -> list[str]:
    return [f"{translate.COMMAND} --workdir={folder} --input=PICTURES --output=ENLARGED"]


def _samples(folder: str, nets: Sequence[str]) -> list[str]:
    sample = f"python -m jaxgan.sample --workdir={folder} --output=SAMPLES --num=64"
    return [sample] if "generator" in nets else []


GAMES = {
    "cyclegan": Published(
        files={net: f"latest_net_{name}" for net, name in PUBLISHED.items()},
        read=_read_cyclegan,
        write=_write_translation,
        found=("train_A", "train_B"),
        use=_translations,
    ),
    "paired": Published(
        files={"generator": "latest_net_G", "discriminator": "latest_net_D"},
        read=_read_pix2pix,
        write=_write_translation,
        found=("train",),
        use=_translations,
    ),
    "upscaling": Published(
        files={"generator": "generator"},  # no published code keeps its discriminator
        read=_read_upscaling,
        write=_write_upscaling,
        found=("train",),
        use=_enlargements,
    ),
    "synthesis": Published(
        files={"generator": "generator", "discriminator": "discriminator"},
        read=_read_dcgan,
        write=_write_dcgan,
        found=("train",),
        use=_samples,
    ),
}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

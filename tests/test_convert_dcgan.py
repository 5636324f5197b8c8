"""Others' DCGANs become a run, and a run's networks an `nn.Sequential`'s."""

import shlex
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny import difference, jit

from jaxgan import convert, main, state_dicts, train, trained
from jaxgan.errors import UserError
from jaxgan.models import dcgan, published_dcgan

ROOT = Path(__file__).parents[1]
CONFIG = f"--config={ROOT / 'configs/dcgan.py'}:smoke"
NETS = ("generator", "discriminator")
READ = {
    "generator": published_dcgan.dcgan_generator_from_published,
    "discriminator": published_dcgan.dcgan_discriminator_from_published,
}
WRITE = {
    "generator": published_dcgan.dcgan_generator_to_published,
    "discriminator": published_dcgan.dcgan_discriminator_to_published,
}


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(Path(__file__).parent / "golden" / "dcgan.npz"))


def weights(golden, net, after=""):
    prefix = f"{net[0].upper()}{after}/"
    return {n.removeprefix(prefix): a for n, a in golden.items() if n.startswith(prefix)}


def write(path, arrays):
    path.write_bytes(state_dicts.to_safetensors(arrays))
    return path


@pytest.fixture(scope="module")
def files(golden, tmp_path_factory):
    """The reference's networks, named as PyTorch's examples name theirs."""
    folder = tmp_path_factory.mktemp("reference")
    for net in NETS:
        arrays = {f"main.{name}": a for name, a in weights(golden, net).items()}
        write(folder / f"{net}.safetensors", arrays)
    return {net: folder / f"{net}.safetensors" for net in NETS}


@pytest.fixture(scope="module")
def run(files, tmp_path_factory):
    folder = tmp_path_factory.mktemp("converted") / "run"
    words = [f"--{net}={file}" for net, file in files.items()]
    assert convert.main([CONFIG, *words, f"--workdir={folder}"]) == 0
    return folder


def in_training(module, variables, x):
    kept = [name for name in variables if name != "params"]
    return jit(lambda v, x: module.apply(v, x, train=True, mutable=kept)[0])(variables, x)


def test_reference_weights_give_the_references_images(files, golden, tmp_path, x64):
    words = [f"--{net}={file}" for net, file in files.items()]
    words += ["--config.precision=float64", f"--workdir={tmp_path / 'run'}"]
    assert convert.main([CONFIG, *words]) == 0
    opened = trained.open_run(str(tmp_path / "run"))
    module, variables = opened.built.game.nets["generator"], opened.weights["generator"]
    fake = np.moveaxis(in_training(module, variables, golden["latent"][0].astype(float)), -1, 1)
    assert difference(fake, golden["fake_before"]) < 1e-8


def test_what_the_arrays_tell(run):
    """Over what the preset says; the rest is the config's."""
    c = trained.open_run(str(run)).config
    assert (c.data.image_size, c.data.channels, c.model.latent.size) == (16, 3, 12)
    for net in NETS:
        assert (c.model[net].kind, c.model[net].width, c.model[net].norm) == ("dcgan", 6, "batch")
    assert c.data.batch_size == 8


def test_there_and_back(run, golden, tmp_path, capsys):
    assert convert.main([f"--workdir={run}", f"--export={tmp_path}"]) == 0
    assert "generator.safetensors: generator of step 0" in capsys.readouterr().out
    for net in NETS:
        back = state_dicts.read(tmp_path / f"{net}.safetensors")
        theirs = weights(golden, net)
        assert set(back) == set(theirs)
        for name, array in back.items():
            assert array.dtype == np.float32
            assert np.array_equal(array, theirs[name]), name


def test_training_starts_from_one_network(files, tmp_path, monkeypatch, capsys):
    """By the command that is printed."""
    taken = {}
    monkeypatch.setattr(train, "train", lambda *_, **named: taken.update(named) or 0)
    monkeypatch.chdir(tmp_path)
    words = [f"--generator={files['generator']}", "--workdir=theirs"]
    assert convert.main([CONFIG, *words]) == 0
    said = capsys.readouterr().out
    assert "theirs holds generator. To use it:" in said
    assert "python -m jaxgan.sample --workdir=theirs" in said
    command = next(line for line in said.splitlines() if "jaxgan.main" in line)
    assert "data.path" not in command
    assert main.main(shlex.split(command)[3:]) == 0
    arrays, nets = taken["source"]
    assert nets == ["generator"]
    assert arrays["params/generator/conv_0/kernel"].shape == (4, 4, 12, 12)


def convolution(x, kernel, stride, padding):
    """[N, C, H, W] by [out, in, 4, 4], by its definition."""
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    size = (x.shape[2] - 4) // stride + 1
    out = np.zeros((x.shape[0], kernel.shape[0], size, size))
    for i, j in np.ndindex(size, size):
        patch = x[:, :, i * stride : i * stride + 4, j * stride : j * stride + 4]
        out[:, :, i, j] = np.einsum("ncij,ocij->no", patch, kernel)
    return out


def transposed(x, kernel, stride, padding):
    """[N, C, H, W] by [in, out, 4, 4]: every pixel lays down a kernel."""
    size = (x.shape[2] - 1) * stride + 4
    out = np.zeros((x.shape[0], kernel.shape[1], size, size))
    for i, j in np.ndindex(*x.shape[2:]):
        piece = np.einsum("nc,coij->noij", x[:, :, i, j], kernel)
        out[:, :, i * stride : i * stride + 4, j * stride : j * stride + 4] += piece
    return out[:, :, padding : size - padding, padding : size - padding]


def drawn(net, names, norms, widths, inputs, outputs):
    """A network's arrays, with biases everywhere and statistics of a trained one."""
    rng, arrays = np.random.default_rng(0), {}
    sizes = [inputs, *widths, outputs]
    for conv, before, after in zip(names, sizes, sizes[1:], strict=False):
        shape = (before, after) if net == "generator" else (after, before)
        arrays[f"{conv}.weight"] = rng.normal(size=(*shape, 4, 4)) / 4
        arrays[f"{conv}.bias"] = rng.normal(size=after)
    for norm, count in zip(norms, widths if net == "generator" else widths[1:], strict=False):
        for leaf in ("weight", "bias", "running_mean"):
            arrays[f"{norm}.{leaf}"] = rng.normal(size=count)
        arrays[f"{norm}.running_var"] = rng.uniform(0.5, 2, size=count)
        arrays[f"{norm}.num_batches_tracked"] = np.asarray(7)
    return arrays


def normed(x, arrays, name):
    leaves = ("weight", "bias", "running_mean", "running_var")
    scale, bias, mean, var = (arrays[f"{name}.{leaf}"][:, None, None] for leaf in leaves)
    return (x - mean) / np.sqrt(var + 1e-5) * scale + bias


def test_biases_before_norms(x64):
    """In evaluation mode, as computed with them, layer by layer."""
    types = {"dtype": jnp.float64, "param_dtype": jnp.float64}
    rng = np.random.default_rng(1)

    def layer(arrays, apply, name, x, stride, padding):
        x = apply(x, arrays[f"{name}.weight"], stride, padding)
        return x + arrays[f"{name}.bias"][:, None, None]

    names, norms = ["deconv1", "deconv2", "deconv3"], ["deconv1_bn", "deconv2_bn"]
    g = drawn("generator", names, norms, [4, 2], 5, 1)
    arguments, variables = READ["generator"](g)
    assert arguments == {"size": 16, "channels": 1, "width": 2, "norm": "batch"}
    assert "bias" not in variables["params"]["conv_0"]
    latent = rng.normal(size=(3, 5))
    x = layer(g, transposed, "deconv1", latent[:, :, None, None], 1, 0)
    x = layer(g, transposed, "deconv2", np.maximum(normed(x, g, "deconv1_bn"), 0), 2, 1)
    x = layer(g, transposed, "deconv3", np.maximum(normed(x, g, "deconv2_bn"), 0), 2, 1)
    module = dcgan.Generator(**arguments, **types)
    ours = jit(lambda v, x: module.apply(v, x, train=False))(variables, latent)
    assert difference(np.moveaxis(ours, -1, 1), np.tanh(x)) < 1e-12

    d = drawn("discriminator", ["conv1", "conv2", "conv3"], ["conv2_bn"], [2, 4], 1, 1)
    arguments, variables = READ["discriminator"](d)
    assert arguments == {"width": 2, "norm": "batch"}
    image = rng.normal(size=(3, 16, 16, 1))
    x = layer(d, convolution, "conv1", np.moveaxis(image, -1, 1), 2, 1)
    x = layer(d, convolution, "conv2", np.where(x > 0, x, 0.2 * x), 2, 1)
    x = normed(x, d, "conv2_bn")
    x = layer(d, convolution, "conv3", np.where(x > 0, x, 0.2 * x), 1, 0)
    module = dcgan.Discriminator(**arguments, **types)
    ours = jit(lambda v, x: module.apply(v, x, train=False))(variables, image)
    assert difference(ours, x[:, :, 0, 0]) < 1e-12


# Convolutions and norms of 64-pixel networks, as the codes' state dicts have them.
CODES = {
    "generator": {
        "main.0 main.3 main.6 main.9 main.12": "main.1 main.4 main.7 main.10",
        "deconv1 deconv2 deconv3 deconv4 deconv5": "deconv1_bn deconv2_bn deconv3_bn deconv4_bn",
        "tconv1 tconv2 tconv3 tconv4 tconv5": "bn1 bn2 bn3 bn4",
        "gen.0.0 gen.1.0 gen.2.0 gen.3.0 gen.4.0": "gen.0.1 gen.1.1 gen.2.1 gen.3.1",
        "net.0.0 net.1.0 net.2.0 net.3.0 net.4": "net.0.1 net.1.1 net.2.1 net.3.1",
        "0 2 4 6 8": "",
    },
    "discriminator": {
        "main.0 main.2 main.5 main.8 main.11": "main.3 main.6 main.9",
        "conv1 conv2 conv3 conv4 conv5": "conv2_bn conv3_bn conv4_bn",
        "conv1 conv2 conv3 conv4 conv5 ": "bn2 bn3 bn4",
        "disc.0.0 disc.1.0 disc.2.0 disc.3.0 disc.4.0": "disc.1.1 disc.2.1 disc.3.1",
        "disc.0 disc.2.0 disc.3.0 disc.4.0 disc.5": "disc.2.1 disc.3.1 disc.4.1",
        "model.0 model.2 model.4 model.6 model.8": "",
    },
}


@pytest.mark.parametrize("net", NETS)
def test_all_codes_names(net):
    """The same arrays under any code's names are the same network."""
    widths = [16, 8, 4, 2][:: 1 if net == "generator" else -1]
    ends = (5, 3) if net == "generator" else (3, 1)
    read = {}
    for names, norms in CODES[net].items():
        arrays = drawn(net, names.split(), norms.split(), widths, *ends)
        read[names] = READ[net](arrays)
    first, *others = (found for names, found in read.items() if CODES[net][names])
    assert first[0]["width"] == 2
    assert first[0]["norm"] == "batch"
    for arguments, variables in others:
        assert arguments == first[0]
        assert difference(variables, first[1]) == 0
    (bare,) = (found for names, found in read.items() if not CODES[net][names])
    assert bare[0] == first[0] | {"norm": "none"}
    assert len(CODES[net]) == len(published_dcgan.NAMES)


@pytest.mark.parametrize("norm", ["batch", "instance", "none"])
def test_back_and_there(norm):
    """Any network here under the names of an `nn.Sequential`, and read from there."""
    rng = np.random.default_rng(0)
    modules = {"generator": dcgan.Generator(32, 3, 2, norm), "discriminator": None}
    modules["discriminator"] = dcgan.Discriminator(2, norm)
    given = {"generator": (1, 5), "discriminator": (1, 32, 32, 3)}
    for net, module in modules.items():
        x = jax.ShapeDtypeStruct(given[net], jnp.float32)
        init = partial(module.lazy_init, train=False)
        shapes = jax.eval_shape(init, jax.random.key(0), x)
        variables = jax.tree.map(lambda s: rng.normal(size=s.shape).astype(s.dtype), shapes)
        arguments, back = READ[net](WRITE[net](variables, norm))
        assert (arguments["width"], arguments["norm"]) == (2, norm)
        assert difference(back, variables) == 0
        more = {**variables, "params": variables["params"] | {"classes_head": {}}}
        with pytest.raises(UserError, match=r"more than a DCGAN's layers \(classes_head\)"):
            WRITE[net](more, norm)


def test_biases_that_a_code_leaves_out_are_zero(golden):
    """PyTorch's examples have none at all."""
    for net in NETS:
        arrays = weights(golden, net)
        norms = {n.rpartition(".")[0] for n in arrays if n.endswith("running_mean")}
        bare = {n: a for n, a in arrays.items() if a.ndim == 4 or n.rpartition(".")[0] in norms}
        assert len(bare) < len(arrays)
        _, variables = READ[net](bare)
        assert not np.any(variables["params"]["last"]["bias"])
        assert jax.tree.structure(variables) == jax.tree.structure(READ[net](arrays)[1])


def test_mistakes(files, run, golden, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    g, d = (weights(golden, net) for net in NETS)

    def saved(name, arrays):
        return write(tmp_path / f"{name}.safetensors", arrays).name

    saved("short", {n: a for n, a in g.items() if n != "3.weight"})
    saved("unnormed", {n: a for n, a in g.items() if not n.startswith("4.")})
    saved("more", g | {"classes.weight": np.zeros((3, 3))})
    narrow = {n: a[:, :5] if n == "3.weight" else a for n, a in g.items()}
    narrow = {n: a[:5] if n.startswith("4.") or n == "6.weight" else a for n, a in narrow.items()}
    saved("narrow", narrow)
    saved("apart", g | {"6.weight": g["6.weight"][:4]})
    saved("wide", g | {"6.weight": np.zeros((6, 3, 5, 5), np.float32)})
    saved("odd", g | {"4.weight": np.zeros(7, np.float32)})
    saved("nan", g | {"6.bias": np.full(3, np.nan)})
    saved("classes", d | {"5.weight": np.zeros((10, 12, 4, 4), np.float32)})
    saved("other", {f"layer_{n}": a for n, a in g.items()})
    saved("flat", {"0.weight": np.zeros((3, 3))})
    saved("affine", {n: a for n, a in d.items() if "running" not in n})
    saved("small", drawn("discriminator", ["0", "2"], [], [6], 3, 1))
    saved("cyclegan", state_dicts.read(Path(__file__).parent / "weights" / "zip.pth"))
    before = sorted(tmp_path.iterdir())

    def refused(*argv, config=CONFIG):
        assert convert.main([*([config] if config else []), *argv]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert sorted(tmp_path.iterdir()) == before
        return err

    def generator(name):
        return refused("--workdir=new", f"--generator={name}.safetensors")

    def discriminator(name):
        return refused("--workdir=new", f"--discriminator={name}.safetensors")

    message = refused("--workdir=new", f"--generator={files['discriminator']}")
    assert "it holds a discriminator; give it as --discriminator" in message
    message = refused("--workdir=new", f"--discriminator={files['generator']}")
    assert "it holds a generator; give it as --generator" in message
    message = generator("short")
    assert (
        "--generator=short.safetensors: no published DCGAN generator: missing 3.weight" in message
    )
    assert "missing 4.weight, 4.bias, 4.running_mean" in generator("unnormed")
    assert "unknown classes.weight" in generator("more")
    assert "have 12, 5 features, and here each has half as many" in generator("narrow")
    assert "6 takes 4 features, and the layer before gives 6" in generator("apart")
    assert "6.weight has kernels of 5 x 5, and here they are 4 x 4" in generator("wide")
    assert "params/norm_1/scale is [7] there and [6] here" in generator("odd")
    assert "6.bias holds NaN" in generator("nan")
    assert "its last layer gives 10 numbers where a logit is one" in discriminator("classes")
    message = generator("other")
    assert "named layer_0, layer_1, layer_3, layer_4, ...; known are those of 0, 3, 4" in message
    assert "deconv1, deconv2, deconv2_bn, ..., deconv5" in message
    assert "two convolutions or more" in generator("flat")
    assert "instance norm with affine=True" in discriminator("affine")
    assert "no published DCGAN generator" in generator("cyclegan")
    small = "--discriminator=small.safetensors"
    message = refused("--workdir=new", f"--generator={files['generator']}", small)
    assert "data.image_size=16 and --discriminator has 8" in message
    good = f"--generator={files['generator']}"
    message = refused("--workdir=new", good, "--config.model.generator.width=64")
    assert "--config.model.generator.width=64 doesn't fit the files" in message

    give = "give --config=configs/dcgan.py for a DCGAN"
    message = refused("--workdir=new", good, config="")
    assert "--generator doesn't fit the config, whose networks are generator_AtoB" in message
    assert give in message
    message = refused("--workdir=new", "--generator_AtoB=cyclegan.safetensors")
    assert "--generator_AtoB doesn't fit the config, whose networks are generator, disc" in message
    assert give in message
    assert "no published networks of game='mine'" in refused(
        "--workdir=new", good, "--config.game=mine"
    )


def test_what_has_no_published_names(run, tmp_path):
    """Nothing is written where one of the networks can't be."""
    opened = trained.open_run(str(run))
    opened.config.model.discriminator.kind = "resnet"
    with pytest.raises(UserError, match="discriminator is of the kind 'resnet', for which there"):
        convert.export(opened, str(tmp_path / "out"))
    opened.config.model.discriminator.kind = "dcgan"
    opened.config.model.discriminator.spread = True
    with pytest.raises(UserError, match="sees how far its batch spreads"):
        convert.export(opened, str(tmp_path / "out"))
    opened.config.model.discriminator.spread = False
    opened.weights["discriminator"]["spectral"] = {}
    with pytest.raises(UserError, match=r"discriminator can't be exported: .*\(spectral\)"):
        convert.export(opened, str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()

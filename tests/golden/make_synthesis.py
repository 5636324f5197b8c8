"""Makes lsgan.npz, cgan.npz, acgan.npz and sngan.npz, beside itself: four systems trained for three
steps in PyTorch, from the papers, every random number in the file.

    python tests/golden/make_synthesis.py            all four, or those named

PyTorch (2.13 made the committed files) and numpy are all it needs; the tests need neither it nor
them. Everything is computed in float64 from weights, latents and `u` that are float32 numbers.
README.md says what the arrays are.
"""

import argparse
import warnings
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F

STEPS, SIZE, CHANNELS, WIDTH, LATENT, CLASSES = 3, 16, 3, 4, 7, 5
RATE, BETAS = 2e-4, (0.5, 0.999)


def generator(inputs: int) -> nn.Sequential:
    """DCGAN's, 4 -> 8 -> 16 pixels."""
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, 2 * WIDTH, 4, 1, 0, bias=False),
        nn.BatchNorm2d(2 * WIDTH),
        nn.ReLU(),
        nn.ConvTranspose2d(2 * WIDTH, WIDTH, 4, 2, 1, bias=False),
        nn.BatchNorm2d(WIDTH),
        nn.ReLU(),
        nn.ConvTranspose2d(WIDTH, CHANNELS, 4, 2, 1),
        nn.Tanh(),
    )


def discriminator(inputs: int = CHANNELS, norm: bool = True) -> nn.Sequential:
    """DCGAN's, 16 -> 8 -> 4 pixels -> a logit; without norms all convolutions have biases."""
    return nn.Sequential(
        nn.Conv2d(inputs, WIDTH, 4, 2, 1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(WIDTH, 2 * WIDTH, 4, 2, 1, bias=not norm),
        *([nn.BatchNorm2d(2 * WIDTH)] if norm else []),
        nn.LeakyReLU(0.2),
        nn.Conv2d(2 * WIDTH, 1, 4, 1, 0),
    )


def single(x: torch.Tensor) -> torch.Tensor:
    """The nearest float32 numbers."""
    return x.float().double()


def scatter(*nets: nn.Module) -> None:
    """Moves norms away from one and zero, where mistakes would not show; rounds to float32."""
    for net in nets:
        for layer in net.modules():
            if isinstance(layer, nn.BatchNorm2d):
                nn.init.normal_(layer.weight, 1, 0.1)
                nn.init.normal_(layer.bias, 0, 0.1)
                nn.init.normal_(layer.running_mean, 0, 0.1)
                nn.init.uniform_(layer.running_var, 0.8, 1.2)
        for value in (*net.parameters(), *net.buffers()):
            if value.is_floating_point():
                value.data = single(value.data)


def weights(prefix: str, net: nn.Module, dtype=np.float64) -> dict[str, np.ndarray]:
    return {
        prefix + name: value.numpy().astype(dtype)
        for name, value in net.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }


def pictures(rounds: int, count: int) -> torch.Tensor:
    """uint8 [step, round, N, C, H, W]."""
    return torch.randint(256, (STEPS, rounds, count, CHANNELS, SIZE, SIZE), dtype=torch.uint8)


def seen(pictures: torch.Tensor) -> torch.Tensor:
    """As the networks see them, in [-1, 1]."""
    return pictures.double() / 127.5 - 1


def vectors(latent: torch.Tensor, label: torch.Tensor | None = None) -> torch.Tensor:
    """[N, Z, 1, 1], or [N, Z + K, 1, 1]: the classes after the noise."""
    if label is not None:
        latent = torch.cat([latent, F.one_hot(label, CLASSES).double()], 1)
    return latent[:, :, None, None]


def with_maps(x: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    """[N, C + K, H, W]: a map of ones or zeros for each class after the image's channels."""
    maps = F.one_hot(label, CLASSES).double()[:, :, None, None]
    return torch.cat([x, maps.expand(-1, -1, *x.shape[2:])], 1)


def adam(*nets: nn.Module, rate: float = RATE, betas: tuple[float, float] = BETAS):
    return torch.optim.Adam([p for net in nets for p in net.parameters()], rate, betas)


def move(optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
    """One step of one player; gradients that the other's networks got are thrown away."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def true(logits: torch.Tensor) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.ones_like(logits))


def false(logits: torch.Tensor) -> torch.Tensor:
    return F.binary_cross_entropy_with_logits(logits, torch.zeros_like(logits))


def judged(logits: torch.Tensor) -> np.ndarray:
    """[N, ...] without the trailing pixels of one."""
    return logits.flatten(1).detach().numpy()


class Record:
    """The arrays of one file."""

    def __init__(self, **given):
        self.arrays = {name: np.asarray(value) for name, value in given.items()}
        self.losses = {}

    def add(self, **losses: torch.Tensor) -> None:
        for name, loss in losses.items():
            self.losses.setdefault(name, []).append(loss.item())

    def finish(self, rounds: dict[str, int] | None = None, **arrays) -> dict[str, np.ndarray]:
        """All arrays; those losses that `rounds` names as [step, round]."""
        for name, values in self.losses.items():
            shape = (STEPS, rounds[name]) if rounds and name in rounds else (STEPS,)
            self.arrays["losses/" + name] = np.array(values).reshape(shape)
        return self.arrays | {name: np.asarray(value) for name, value in arrays.items()}


def lsgan() -> dict[str, np.ndarray]:
    """Mao et al. 2017, equation 9: a = 0, b = c = 1, both losses with their halves."""
    g, d = generator(LATENT), discriminator()
    scatter(g, d)
    real, latent = pictures(1, 5), single(torch.randn(STEPS, 5, LATENT))
    record = Record(
        **weights("G/", g, np.float32),
        **weights("D/", d, np.float32),
        real=real,
        latent=latent.float(),
        labels_abc=[0.0, 1.0, 1.0],
    )
    players = [adam(net, rate=1e-3, betas=(0.5, 0.99)) for net in (g, d)]
    for step in range(STEPS):
        fake = g(vectors(latent[step]))
        if step == 0:
            record.arrays["fake_before"] = fake.detach().numpy()
        on_real = 0.5 * ((d(seen(real[step, 0])) - 1) ** 2).mean()
        on_fake = 0.5 * ((d(fake.detach()) - 0) ** 2).mean()
        move(players[1], on_real + on_fake)
        fools = 0.5 * ((d(fake) - 1) ** 2).mean()
        move(players[0], fools)
        record.add(D_real=on_real, D_fake=on_fake, G=fools)
    after = weights("G_after/", g) | weights("D_after/", d)
    return record.finish(
        **after,
        sample_train_after=g(vectors(latent[0])).detach(),
        logits_after=judged(d(seen(real[0, 0]))),
    )


def cgan() -> dict[str, np.ndarray]:
    """Mirza & Osindero 2014, equation 2, with convolutions: both players are told the class."""
    g, d = generator(LATENT + CLASSES), discriminator(CHANNELS + CLASSES)
    scatter(g, d)
    real, latent = pictures(1, 5), single(torch.randn(STEPS, 5, LATENT))
    label = torch.randint(CLASSES, (STEPS, 1, 5))
    record = Record(
        **weights("G/", g, np.float32),
        **weights("D/", d, np.float32),
        real=real,
        label=label,
        latent=latent.float(),
    )
    players = [adam(net) for net in (g, d)]
    for step in range(STEPS):
        classes = label[step, 0]
        fake = g(vectors(latent[step], classes))
        if step == 0:
            record.arrays["fake_before"] = fake.detach().numpy()
        on_real = true(d(with_maps(seen(real[step, 0]), classes)))
        on_fake = false(d(with_maps(fake.detach(), classes)))
        move(players[1], on_real + on_fake)
        fools = true(d(with_maps(fake, classes)))
        move(players[0], fools)
        record.add(D_real=on_real, D_fake=on_fake, G=fools)
    after = weights("G_after/", g) | weights("D_after/", d)
    return record.finish(
        **after,
        sample_train_after=g(vectors(latent[0], label[0, 0])).detach(),
        logits_after=judged(d(with_maps(seen(real[0, 0]), label[0, 0]))),
    )


def acgan() -> dict[str, np.ndarray]:
    """Odena et al. 2017, equations 2 and 3: the discriminator tells the source and the class."""
    weight_D, weight_G = 1.0, 0.5
    g, d = generator(LATENT + CLASSES), discriminator()
    classes = nn.Conv2d(2 * WIDTH, CLASSES, 4, 1, 0)
    scatter(g, d, classes)

    def heads(x):
        """Logits of the source and of the classes, of the same features."""
        features = d[:-1](x)
        return d[-1](features), classes(features).flatten(1)

    real, latent = pictures(1, 5), single(torch.randn(STEPS, 5, LATENT))
    label = torch.randint(CLASSES, (STEPS, 1, 5))
    record = Record(
        **weights("G/", g, np.float32),
        **weights("D/", d, np.float32),
        **weights("D/classes.", classes, np.float32),
        real=real,
        label=label,
        latent=latent.float(),
        weight_D=weight_D,
        weight_G=weight_G,
    )
    players = [adam(g), adam(d, classes)]
    for step in range(STEPS):
        given = label[step, 0]
        fake = g(vectors(latent[step], given))
        if step == 0:
            record.arrays["fake_before"] = fake.detach().numpy()
        source_real, class_real = heads(seen(real[step, 0]))
        source_fake, class_fake = heads(fake.detach())
        on_real, on_fake = true(source_real), false(source_fake)
        named_real = F.cross_entropy(class_real, given)
        named_fake = F.cross_entropy(class_fake, given)
        move(players[1], on_real + on_fake + weight_D * (named_real + named_fake))
        source, named = heads(fake)
        fools, named = true(source), F.cross_entropy(named, given)
        move(players[0], fools + weight_G * named)
        record.add(D_real=on_real, D_fake=on_fake, G=fools)
        record.add(class_real=named_real, class_fake=named_fake, class_G=named)
    after = weights("G_after/", g) | weights("D_after/", d)
    after |= weights("D_after/classes.", classes)
    sample = g(vectors(latent[0], label[0, 0])).detach()
    source, named = heads(seen(real[0, 0]))
    return record.finish(
        **after, sample_train_after=sample, logits_after=judged(source), classes_after=judged(named)
    )


def spectral(weight: torch.Tensor, u: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Miyato et al. 2018, algorithm 1, one round: the weight over its norm, and the new `u`."""
    matrix = weight.flatten(1)
    with torch.no_grad():
        v = F.normalize(matrix.T @ u, dim=0, eps=1e-12)
        u = F.normalize(matrix @ v, dim=0, eps=1e-12)
    return weight / (u @ matrix @ v), u


def check_spectral() -> None:
    """PyTorch's two spectral norms have the same iterates, values and gradients.

    The older begins with v as the paper does. The newer begins with u: from the v that the paper
    gets first, its u is the paper's, and its v the one that the paper gets next.
    """
    layer, u = nn.Conv2d(6, 5, 4), F.normalize(torch.randn(5), dim=0)
    weight, x = layer.weight.detach().clone(), torch.randn(2, 6, 7, 7)
    first = F.normalize(weight.flatten(1).T @ u, dim=0, eps=1e-12)
    ours = weight.clone().requires_grad_()
    normed, once = spectral(ours, u)
    (F.conv2d(x, normed) ** 2).sum().backward()
    second = F.normalize(weight.flatten(1).T @ once, dim=0, eps=1e-12)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated
        older = torch.nn.utils.spectral_norm(nn.Conv2d(6, 5, 4, bias=False))
    older.weight_orig.data, older.weight_u = weight.clone(), u.clone()
    (older(x) ** 2).sum().backward()
    torch.testing.assert_close(older.weight_u, once, rtol=0, atol=1e-14)
    torch.testing.assert_close(older.weight_orig.grad, ours.grad, rtol=1e-12, atol=1e-12)

    newer = torch.nn.utils.parametrizations.spectral_norm(nn.Conv2d(6, 5, 4, bias=False))
    parts = newer.parametrizations.weight
    parts.original.data, parts[0]._v = weight.clone(), first
    normed = newer.weight
    torch.testing.assert_close(parts[0]._u, once, rtol=0, atol=1e-14)
    torch.testing.assert_close(parts[0]._v, second, rtol=0, atol=1e-14)
    sigma = once @ weight.flatten(1) @ second
    torch.testing.assert_close(normed, weight / sigma, rtol=1e-13, atol=1e-14)


def sngan() -> dict[str, np.ndarray]:
    """Miyato et al. 2018: the hinge loss, two critic rounds, `u` moved by every pass."""
    check_spectral()
    rounds, count = 2, 4
    g, d = generator(LATENT), discriminator(norm=False)
    d[-1].bias.data.fill_(0.9)  # some real images are past the hinge, some are not
    scatter(g, d)
    layers = {i: layer for i, layer in enumerate(d) if isinstance(layer, nn.Conv2d)}
    u = {i: single(F.normalize(torch.randn(len(at.weight)), dim=0)) for i, at in layers.items()}
    real = pictures(rounds, count)
    critic = single(torch.randn(STEPS, rounds, count, LATENT))
    latent = single(torch.randn(STEPS, count, LATENT))

    def judge(x):
        for i, layer in enumerate(d):
            if i in layers:
                weight, u[i] = spectral(layer.weight, u[i])
                x = F.conv2d(x, weight, layer.bias, layer.stride, layer.padding)
            else:
                x = layer(x)
        return x

    def drawn(noise):
        """Fakes for the critic; the generator's running statistics are not its to move."""
        with torch.no_grad():
            held = {name: value.clone() for name, value in g.state_dict().items()}
            return functional_call(g, held, (vectors(noise),))

    record = Record(
        **weights("G/", g, np.float32),
        **weights("D/", d, np.float32),
        **{f"u/{i}": vector.float() for i, vector in u.items()},
        real=real,
        latent_critic=critic.float(),
        latent_generator=latent.float(),
        fake_before=drawn(latent[0]),
    )
    players = [adam(net, betas=(0.0, 0.9)) for net in (g, d)]
    for step in range(STEPS):
        for i in range(rounds):
            on_real = F.relu(1 - judge(seen(real[step, i]))).mean()
            on_fake = F.relu(1 + judge(drawn(critic[step, i]))).mean()
            move(players[1], on_real + on_fake)
            record.add(D_real=on_real, D_fake=on_fake)
        fools = -judge(g(vectors(latent[step]))).mean()
        move(players[0], fools)
        record.add(G=fools)
    after = weights("G_after/", g) | weights("D_after/", d)
    after |= {f"u_after/{i}": vector.clone() for i, vector in u.items()}
    return record.finish(
        dict.fromkeys(("D_real", "D_fake"), rounds),
        **after,
        sample_train_after=drawn(latent[0]),
        logits_after=judged(judge(seen(real[0, 0]))),
    )


SYSTEMS = {"lsgan": lsgan, "cgan": cgan, "acgan": acgan, "sngan": sngan}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("systems", nargs="*", metavar="|".join(SYSTEMS))
    named = parser.parse_args().systems or list(SYSTEMS)
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    for seed, (name, make) in enumerate(SYSTEMS.items()):
        if name in named:
            torch.manual_seed(seed)
            file = Path(__file__).with_name(name + ".npz")
            np.savez_compressed(file, **make())
            print(f"{file.name}: {file.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()

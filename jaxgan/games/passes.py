"""Passes of networks within one objective."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from jaxgan.state import Variables


class Passes:
    """Calls nets in training mode and keeps what their statistics become.

    A net without batch statistics takes several inputs as one batch: the same values from fewer
    and larger convolutions. One with batch statistics takes them one after another, as each
    batch is normalised by itself, and its running statistics go on in the order of the calls.

    Args:
      modules: name -> Linen module, called as `module(images, train=True)`, or with more inputs
        before `train`.
      nets: name -> variables.
      key: dropout draws from it; pass i of an objective uses (key, i).
    """

    def __init__(
        self, modules: Mapping[str, nn.Module], nets: Mapping[str, Variables], key: jax.Array
    ):
        self._modules, self._key, self._calls = modules, key, 0
        self._nets = dict(nets)
        self._changed: dict[str, Any] = {}

    def in_order(self, net: str) -> bool:
        """Whether the net's passes leave traces, so that their order counts."""
        return set(self._nets[net]) != {"params"}

    def __call__(self, net: str, *inputs: Any) -> list[Any]:
        """The net's outputs for each input: [N, H, W, C], or a tuple of such and of labels [N].

        All inputs have the same shapes.
        """
        if self.in_order(net) or len(inputs) == 1:
            return [self._apply(net, x) for x in inputs]

        def interleaved(*arrays):  # so that a batch sharded over devices stays where it is
            stacked = jnp.stack(arrays, 1)
            return stacked.reshape(-1, *stacked.shape[2:])

        output = self._apply(net, jax.tree.map(interleaved, *inputs))
        output = jax.tree.map(lambda y: y.reshape(-1, len(inputs), *y.shape[1:]), output)
        return [jax.tree.map(lambda y, i=i: y[:, i], output) for i in range(len(inputs))]

    def stats(self) -> dict[str, Any]:
        """net -> its collections after the passes made so far; only nets that have any."""
        return self._changed

    def _apply(self, net: str, x: Any) -> Any:
        variables = self._nets[net]
        kept = [name for name in variables if name != "params"]
        rngs = {"dropout": jax.random.fold_in(self._key, self._calls)}
        self._calls += 1
        module = self._modules[net]
        inputs = x if isinstance(x, tuple) else (x,)
        output, changed = module.apply(variables, *inputs, train=True, rngs=rngs, mutable=kept)
        if kept:
            self._nets[net] = {**variables, **changed}
            self._changed[net] = dict(changed)
        return output

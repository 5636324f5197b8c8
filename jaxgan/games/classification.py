"""Images to their classes: a game of one player, whose network judges what others make."""

import jax
from flax import linen as nn

from jaxgan.games.game import Batch, Context, Game, Outcome, Phase
from jaxgan.games.passes import Passes
from jaxgan.losses.classification import accuracy, cross_entropy
from jaxgan.state import Variables


def classification(net: nn.Module) -> Game:
    """A classifier, alone: its cross-entropy is all that is minimised.

    Args:
      net: images -> {"features": [N, D], "logits": [N, classes]}, called with `train=`.

    Returns:
      A `Game` on batches {"image": [N, H, W, C] in [-1, 1], "label": int32 [N]}. Its metrics are
      the loss (`classifier`) and the share of the batch that is told right (`accuracy`), both in
      training mode. `sample` makes no images: it gives what `net` does, in evaluation mode.
    """
    modules = {"classifier": net}

    def classifier(nets, memory, handoff, batch: Batch, context: Context):
        """Tell the classes."""
        run = Passes(modules, nets, context.key)
        logits = run("classifier", batch["image"])[0]["logits"]
        loss = cross_entropy(logits, batch["label"])
        metrics = {"classifier": loss, "accuracy": accuracy(logits, batch["label"])}
        return loss, Outcome(run.stats(), {}, {}, metrics)

    def init(key: jax.Array, batch: Batch):
        """Variables of the net."""
        return {"classifier": net.lazy_init(key, batch["image"], train=False)}, {}

    def sample(nets: dict[str, Variables], batch: Batch) -> dict[str, jax.Array]:
        """`features` and `logits` of the batch's images, in evaluation mode."""
        return net.apply(nets["classifier"], batch["image"], train=False)

    return Game(
        nets=modules,
        players={"classifier": ("classifier",)},
        phases=(Phase("classifier", "classifier", classifier, ("classifier", "accuracy")),),
        init=init,
        sample=sample,
        task="classification",
    )

"""Phases -> one compiled update.

`make_update` turns a game into `update(state, batch, constants) -> state`, which plays every
phase once. Nothing here knows a particular GAN: if a variant wants an `if` in this file, it is a
new game.
"""

import zlib
from collections.abc import Callable, Collection, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import optax

from jaxgan.games.game import Batch, Context, Game, Outcome, Phase
from jaxgan.state import Ema, TrainState, average, split_variables

Schedules = Mapping[str, Callable[[jax.Array], jax.Array]]  # name -> (images -> value)
Optimizer = Callable[[Mapping[str, jax.Array]], optax.GradientTransformation]


def decode(batch: Batch, dtype: Any) -> Batch:
    """uint8 images become `x / 127.5 - 1`; floats become `dtype`; all else passes through."""

    def decoded(value):
        if value.dtype == jnp.uint8:
            return value.astype(dtype) / 127.5 - 1
        return value.astype(dtype) if jnp.issubdtype(value.dtype, jnp.floating) else value

    return {name: decoded(value) for name, value in batch.items()}


def init_state(
    game: Game,
    optimizers: Mapping[str, Optimizer],
    schedules: Schedules,
    ema: Ema | None,
    seed: int,
    batch: Mapping[str, jax.ShapeDtypeStruct],
    dtype: Any = jnp.float32,
) -> TrainState:
    """The state before the first step. No two of its leaves share a buffer.

    Args:
      game, optimizers, schedules, ema, dtype: as for `make_update`.
      seed: the run's seed.
      batch: shapes and types of one batch as `update` takes it.
    """
    micro = jax.eval_shape(lambda b: decode(jax.tree.map(lambda x: x[-1, 0], b), dtype), batch)
    # Networks draw their weights outside jit (see models/initializers.py), and in float64 only
    # where the run is; what is left is one small program.
    nets, memory = game.init(jax.random.fold_in(jax.random.key(seed), _hash("init")), micro)
    players, metrics = game.players, [name for phase in game.phases for name in phase.metrics]

    @jax.jit
    def assemble(nets, memory):
        params, stats = split_variables(nets)
        now = {name: f(jnp.zeros((), jnp.int32)) for name, f in schedules.items()}
        opt = {
            player: optimizers[player](now).init({name: params[name] for name in owned})
            for player, owned in players.items()
        }
        averaged = ema.nets if ema else ()
        return TrainState(
            step=jnp.zeros((), jnp.int32),
            images=jnp.zeros((), jnp.int32),
            rng=jax.random.key_data(jax.random.key(seed)),
            params=params,
            stats=stats,
            opt=opt,
            ema={name: jax.tree.map(jnp.copy, nets[name]) for name in averaged},
            memory=memory,
            metrics={n: (jnp.zeros((), dtype), jnp.zeros((), jnp.int32)) for n in metrics},
            first_bad=jnp.full((2,), -1, jnp.int32),
        )

    return assemble(nets, memory)


def make_update(
    game: Game,
    optimizers: Mapping[str, Optimizer],
    schedules: Schedules,
    ema: Ema | None = None,
    dtype: Any = jnp.float32,
    phases: Collection[str] | None = None,
) -> Callable[[TrainState, Batch, Any], TrainState]:
    """One update: every phase once, then the averages and the counters.

    Args:
      game: networks, players and phases.
      optimizers: player -> (schedules' values now -> optax transformation).
      schedules: name -> function of the images seen.
      ema: which averages to keep, or None.
      dtype: the type of decoded images.
      phases: names of those that are played, of a game with segments; None: all.

    Returns:
      A pure function `(state, batch, constants, first_round=0) -> state`. Every array of `batch` is
      laid out [repeats, accumulate, micro-batch, ...]: a repeated phase plays round r on
      `batch[r]`, one that isn't repeated sees the last round's; gradients are averaged over the
      second axis. `first_round` counts the rounds of `game.extra` that the step has had already.
    """
    if len({phase.name for phase in game.phases}) < len(game.phases):
        raise ValueError("two phases of one name would draw the same numbers")
    for phase in game.phases:
        foreign = set(phase.stats) - set(game.nets)
        if phase.player not in game.players or foreign:
            raise ValueError(f"phase {phase.name!r} names an unknown player or net")

    def update(
        state: TrainState, batch: Batch, constants: Any = None, first_round: Any = 0
    ) -> TrainState:
        batch = decode(batch, dtype)
        leaf = jax.tree.leaves(batch)[0]
        batch_size = leaf.shape[1] * leaf.shape[2]
        context = _context(schedules, state, constants)
        handoff: dict[str, Any] = {}
        for index, phase in enumerate(game.phases):
            if phases is not None and phase.name not in phases:
                continue
            extra = first_round if game.extra and game.extra.phase == phase.name else 0
            optimizer = optimizers[phase.player](context.schedules)
            play = _player(game, phase, index, optimizer, extra)
            if phase.every == 1:
                state, handoff, metrics = play(state, batch, handoff, context)
            else:
                state, metrics = _lazily(phase, play, state, batch, handoff, context)
            state = state.replace(metrics=state.metrics | _added(state.metrics, metrics))
        state = state.replace(step=state.step + 1, images=state.images + batch_size)
        if ema is not None:
            state = state.replace(ema=average(ema, state, batch_size))
        return state

    return update


def make_rounds(
    game: Game,
    optimizers: Mapping[str, Optimizer],
    schedules: Schedules,
    dtype: Any = jnp.float32,
) -> Callable[[TrainState, Batch, Any, Any], TrainState]:
    """One batch of the rounds that `game.extra` adds to a step.

    Returns:
      A pure function `(state, batch, constants, first_round) -> state` that plays nothing but the
      extra phase, counts no step and no images, and draws what the step's rounds from `first_round`
      on draw: so that rounds cut into batches are the rounds of one large batch.
    """
    index = [phase.name for phase in game.phases].index(game.extra.phase)
    phase = game.phases[index]

    def rounds(
        state: TrainState, batch: Batch, constants: Any, first_round: jax.Array
    ) -> TrainState:
        context = _context(schedules, state, constants)
        optimizer = optimizers[phase.player](context.schedules)
        play = _player(game, phase, index, optimizer, first_round)
        state, _, metrics = play(state, decode(batch, dtype), {}, context)
        return state.replace(metrics=state.metrics | _added(state.metrics, metrics))

    return rounds


def start_anew(
    state: TrainState,
    players: Mapping[str, tuple[str, ...]],
    optimizers: Mapping[str, Optimizer],
    schedules: Schedules,
) -> TrainState:
    """The state with the optimizers of some players (name -> the nets it owns) as at the start."""
    now = {name: f(state.images) for name, f in schedules.items()}
    opt = {
        player: optimizers[player](now).init({name: state.params[name] for name in owned})
        for player, owned in players.items()
    }
    return state.replace(opt=state.opt | opt)


def _context(schedules: Schedules, state: TrainState, constants: Any) -> Context:
    """The step's, before a phase's name is folded into its key."""
    now = {name: f(state.images) for name, f in schedules.items()}
    key = jax.random.fold_in(jax.random.wrap_key_data(state.rng), state.step)
    return Context(key, state.step, state.images, now, constants)


def _hash(name: str) -> int:
    """A hash that is the same in every process (Python's own is salted)."""
    return zlib.crc32(name.encode()) & 0x7FFFFFFF


def _added(running, new):
    """Sums and counts of a phase's metrics, added to those since the last log line."""
    return {
        name: (running[name][0] + total.astype(running[name][0].dtype), running[name][1] + count)
        for name, (total, count) in new.items()
    }


def _player(
    game: Game,
    phase: Phase,
    index: int,
    optimizer: optax.GradientTransformation,
    first_round: Any = 0,
):
    """`(state, batch, handoff, context) -> (state, handoff, metrics)` for one phase."""
    owned = game.players[phase.player]

    def gradient(state, params, batch, handoff, context):
        """Gradient of one micro-batch, with what it leaves behind."""

        def objective(params):
            nets = {name: state.variables(name) for name in game.nets}
            nets |= {name: {**nets[name], "params": params[name]} for name in owned}
            return phase.objective(nets, state.memory, handoff, batch, context)

        (loss, outcome), grads = jax.value_and_grad(objective, has_aux=True)(params)
        return grads, loss, outcome

    def keep(state, outcome: Outcome):
        """Ownership: of all that the objective changed, only what this phase may change."""
        mine = {*owned, *phase.stats}
        stats = {name: s for name, s in outcome.stats.items() if name in mine and s}
        foreign = set(outcome.memory) - set(phase.memory)
        if foreign:
            raise ValueError(f"phase {phase.name!r} writes memory that it does not name: {foreign}")
        if set(outcome.metrics) != set(phase.metrics):
            raise ValueError(
                f"phase {phase.name!r} names the metrics {sorted(phase.metrics)} "
                f"and gives {sorted(outcome.metrics)}"
            )
        return state.replace(stats=state.stats | stats, memory=state.memory | dict(outcome.memory))

    def one_round(state, batch, handoff, context):
        """One optimizer step on a batch laid out [accumulate, micro-batch, ...]."""
        params = {name: state.params[name] for name in owned}
        slices = jax.tree.leaves(batch)[0].shape[0]

        def accumulate(state, slice_):
            i, batch, handoff = slice_
            now = context._replace(key=jax.random.fold_in(context.key, i))
            grads, loss, outcome = gradient(state, params, batch, handoff, now)
            return keep(state, outcome), (grads, loss, outcome.handoff, outcome.metrics)

        if slices == 1:
            first = (0, *jax.tree.map(lambda x: x[0], (batch, handoff)))
            state, made = accumulate(state, first)
            grads, loss, given, metrics = made
            given = jax.tree.map(lambda x: x[None], given)
        else:
            # The sum rides in the carry: stacking every micro-batch's gradient would cost the
            # memory that accumulation is there to save.
            def body(carry, slice_):
                state, total = carry
                state, (grads, loss, given, metrics) = accumulate(state, slice_)
                total = jax.tree.map(jnp.add, total, grads)
                return (state, total), (loss, given, metrics)

            zeros = jax.tree.map(jnp.zeros_like, params)
            (state, total), (loss, given, metrics) = jax.lax.scan(
                body, (state, zeros), (jnp.arange(slices), batch, handoff)
            )
            grads = jax.tree.map(lambda g: g / slices, total)
            loss, metrics = jax.tree.map(lambda m: jnp.mean(m, 0), (loss, metrics))

        changes, opt = optimizer.update(grads, state.opt[phase.player], params)
        params = optax.apply_updates(params, changes)
        # The new weights count too: finite gradients can still throw them out of range, and they
        # may be saved before a loss tells.
        finite = jnp.isfinite(loss)
        for leaf in jax.tree.leaves((grads, params)):
            finite &= jnp.all(jnp.isfinite(leaf))
        here = jnp.stack([context.step, jnp.int32(index)])
        first_bad = jnp.where((state.first_bad[0] < 0) & ~finite, here, state.first_bad)
        if phase.project is not None:
            params = phase.project(params)
        state = state.replace(
            params=state.params | params,
            opt=state.opt | {phase.player: opt},
            first_bad=first_bad,
        )
        return state, given, metrics

    def play(state, batch, handoff, context):
        context = context._replace(key=jax.random.fold_in(context.key, _hash(phase.name)))
        if phase.repeats == 1:
            last = jax.tree.map(lambda x: x[-1], batch)
            key = jax.random.fold_in(context.key, first_round)
            state, given, metrics = one_round(state, last, handoff, context._replace(key=key))
            return state, handoff | given, {n: (m, jnp.int32(1)) for n, m in metrics.items()}

        def body(state, round_):
            r, batch = round_
            now = context._replace(key=jax.random.fold_in(context.key, r))
            state, given, metrics = one_round(state, batch, handoff, now)
            return state, (given, metrics)

        rounds = first_round + jnp.arange(phase.repeats)
        state, (given, metrics) = jax.lax.scan(body, state, (rounds, batch))
        given = jax.tree.map(lambda x: x[-1], given)
        totals = {n: (jnp.sum(m), jnp.int32(phase.repeats)) for n, m in metrics.items()}
        return state, handoff | given, totals

    return play


def _lazily(phase: Phase, play, state, batch, handoff, context):
    """Plays the phase at every n-th step; a skipped one returns metrics that count nothing."""

    def played(state):
        state, _, metrics = play(state, batch, handoff, context)
        return state, _added(zero, metrics)

    zero = {name: jax.tree.map(jnp.zeros_like, state.metrics[name]) for name in phase.metrics}
    return jax.lax.cond(context.step % phase.every == 0, played, lambda state: (state, zero), state)

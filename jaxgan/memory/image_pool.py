"""The pool of past fakes that CycleGAN's discriminators judge (Shrivastava et al. 2017, 2.3)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class PoolState(NamedTuple):
    """Attributes: images [size, H, W, C]; count, int32: how many places are filled."""

    images: jax.Array
    count: jax.Array


def init(size: int, shape: tuple[int, ...], dtype: Any = jnp.float32) -> PoolState:
    """An empty pool for `size` (> 0) images of `shape` (H, W, C)."""
    return PoolState(jnp.zeros((size, *shape), dtype), jnp.zeros((), jnp.int32))


def query(pool: PoolState, images: jax.Array, key: jax.Array) -> tuple[jax.Array, PoolState]:
    """Offers new images, one after another; gives back the images to judge.

    While the pool isn't full an image is stored and given back. Then a fair coin decides: the
    image itself, or a stored one drawn uniformly, whose place the new image takes.

    Args:
      pool: the pool.
      images: [N, H, W, C].
      key: decides coins and places; image i uses (key, i).

    Returns:
      [N, H, W, C] to judge, without gradient; the pool after.
    """
    size = pool.images.shape[0]

    def one(pool, offered):
        image, key = offered
        coin, place = jax.random.split(key)
        filling = pool.count < size
        swap = ~filling & jax.random.bernoulli(coin)
        where = jnp.where(filling, pool.count, jax.random.randint(place, (), 0, size))
        old = jax.lax.dynamic_index_in_dim(pool.images, where, keepdims=False)
        stored = jnp.where(filling | swap, image, old)
        kept = jax.lax.dynamic_update_index_in_dim(pool.images, stored, where, 0)
        count = pool.count + filling.astype(jnp.int32)
        return PoolState(kept, count), jnp.where(swap, old, image)

    images = jax.lax.stop_gradient(images).astype(pool.images.dtype)
    keys = jax.vmap(lambda i: jax.random.fold_in(key, i))(jnp.arange(images.shape[0]))
    if images.shape[0] == 1:
        pool, answer = one(pool, (images[0], keys[0]))
        return answer[None], pool
    pool, answers = jax.lax.scan(one, pool, (images, keys))
    return answers, pool

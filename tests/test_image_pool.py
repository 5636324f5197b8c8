"""The image pool against what the paper says (Shrivastava et al. 2017, section 2.3)."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxgan.memory import image_pool

query = jax.jit(image_pool.query)


def numbered(*values) -> jnp.ndarray:
    """1 x 1 images, each a number."""
    return jnp.asarray(values, jnp.float32).reshape(-1, 1, 1, 1)


def full(size: int) -> image_pool.PoolState:
    """A pool that holds the images 1 ... size."""
    return image_pool.PoolState(numbered(*range(1, size + 1)), jnp.int32(size))


def test_fills_first():
    """Until it is full, every image is stored in turn and given back."""
    pool = image_pool.init(50, (1, 1, 1))
    assert pool.images.shape == (50, 1, 1, 1)
    for i in range(1, 51):
        answer, pool = query(pool, numbered(i), jax.random.key(i))
        assert answer.item() == i
        assert pool.count == i
    np.testing.assert_array_equal(pool.images.ravel(), np.arange(1, 51))
    _, pool = query(pool, numbered(51), jax.random.key(51))
    assert pool.count == 50


@pytest.fixture(scope="module")
def many():
    """The answers of a full pool of 50 to the image 99, and the pools after, for 4000 keys."""
    keys = jax.random.split(jax.random.key(7), 4000)
    ask = jax.jit(jax.vmap(lambda key: image_pool.query(full(50), numbered(99), key)))
    answers, pools = ask(keys)
    return np.ravel(answers), np.asarray(pools.images).reshape(4000, 50)


def test_half_of_the_answers_are_old(many):
    answers, _ = many
    # 2000 +- 5 standard deviations of a binomial with p = 1/2: wrong once in two million runs.
    assert abs(np.sum(answers != 99) - 2000) < 5 * np.sqrt(1000)


def test_old_answers_come_from_all_places_alike(many):
    answers, _ = many
    counts = np.bincount(answers[answers != 99].astype(int), minlength=51)[1:]
    expected = counts.sum() / 50
    # Chi-square with 49 degrees of freedom: 99 is passed once in 30,000 runs.
    assert np.sum((counts - expected) ** 2 / expected) < 99


def test_a_swap_changes_one_place_and_nothing_else_does(many):
    answers, pools = many
    expected = np.tile(np.arange(1, 51), (len(pools), 1))
    swapped = np.flatnonzero(answers != 99)
    # The answer is an old image, and the new one lies in its place.
    expected[swapped, answers[swapped].astype(int) - 1] = 99
    np.testing.assert_array_equal(pools, expected)


def test_a_batch_is_offered_one_after_another():
    """As single images with the same keys; the batch that fills the pool may meet its own."""
    pool, key = image_pool.init(3, (1, 1, 1)), jax.random.key(1)
    met_itself = False
    for step in range(12):
        key = jax.random.fold_in(key, step)
        offered = [10 * step + i for i in range(1, 6)]
        together, after = query(pool, numbered(*offered), key)
        one_by_one = []
        for i in range(5):
            # Of a batch, image i is decided by (key, i).
            answer, pool = _one(pool, numbered(offered[i]), jax.random.fold_in(key, i))
            one_by_one.append(answer.item())
        np.testing.assert_array_equal(together.ravel(), one_by_one)
        np.testing.assert_array_equal(after.images, pool.images)
        assert after.count == pool.count
        for answer, image in zip(one_by_one, offered, strict=True):
            met_itself |= answer > 10 * step and answer != image
    assert met_itself


def _one(pool, image, key):
    """The published algorithm, for one image."""
    coin, place = jax.random.split(key)
    images, count, size = np.array(pool.images), int(pool.count), len(pool.images)
    if count < size:
        images[count] = image[0]
        return image, image_pool.PoolState(jnp.asarray(images), jnp.int32(count + 1))
    if not jax.random.bernoulli(coin):
        return image, pool
    where = int(jax.random.randint(place, (), 0, size))
    old = images[where].copy()
    images[where] = image[0]
    return jnp.asarray(old)[None], image_pool.PoolState(jnp.asarray(images), pool.count)


@pytest.mark.parametrize("count", [1, 3])
def test_no_gradient(count):
    offered = numbered(*range(count))

    def answered(images):
        answers, pool = image_pool.query(image_pool.init(2, (1, 1, 1)), images, jax.random.key(0))
        return jnp.sum(answers) + jnp.sum(pool.images)

    assert not np.any(jax.grad(answered)(offered))


def test_keeps_its_types(x64):
    """Whatever is offered, the state that comes back is the state that went in."""
    pool = image_pool.init(2, (4, 4, 3), jnp.float32)
    answers, after = image_pool.query(pool, jnp.ones((2, 4, 4, 3), jnp.float64), jax.random.key(0))
    assert [x.dtype for x in after] == [x.dtype for x in pool] == [jnp.float32, jnp.int32]
    assert answers.dtype == jnp.float32

"""Winograd's minimal filtering F(2x2, 3x3): a 3x3 convolution of stride 1 in 4/9 of the
multiplications (Lavin & Gray, arXiv:1509.09308, section 4.1).

As a trilinear form, ``<convolve(x, kernel), y>`` is ``sum over 16 of <B x, G kernel, A y>``,
where B cuts the image into overlapping 4x4 tiles, G spreads the kernel over 4x4 and A spreads
the 2x2 answers over 4x4. So the forward pass and both of its adjoints are 16 matrix products
each, between the same three transforms or their transposes: what one of them computed is
shared with the others by XLA's common subexpressions.

All functions take even-sized answers: `x` is ``[N, H + 2, W + 2, C]``, `y` is ``[N, H, W, F]``
with H and W even, `kernel` is ``[3, 3, C, F]``. Tiles are lists of 16 matrices: separate
matrix products stay in the cache, a batched one was a third slower.
"""

import jax.numpy as jnp
from jax import lax


def forward(x, kernel):
    n, height, width, _ = x.shape
    x, kernel = lax.optimization_barrier((x, kernel))
    products = [a @ b for a, b in zip(_tiles(x), _spread_kernel(kernel), strict=True)]
    return _gather(products, n, height - 2, width - 2)


def input_adjoint(y, kernel):
    n, height, width, _ = y.shape
    y, kernel = lax.optimization_barrier((y, kernel))
    products = [a @ b.T for a, b in zip(_spread(y), _spread_kernel(kernel), strict=True)]
    return _tiles_adjoint(products, n, height + 2, width + 2)


def weight_adjoint(x, y):
    x, y = lax.optimization_barrier((x, y))
    products = [a.T @ b for a, b in zip(_tiles(x), _spread(y), strict=True)]
    return _spread_kernel_adjoint(products)


# The one-dimensional transforms and their adjoints, on lists of arrays.


def _b(rows):
    r0, r1, r2, r3 = rows
    return [r0 - r2, r1 + r2, r2 - r1, r1 - r3]


def _b_adjoint(tiles):
    t0, t1, t2, t3 = tiles
    return [t0, t1 - t2 + t3, t1 + t2 - t0, -t3]


def _g(kernel):
    k0, k1, k2 = kernel
    return [k0, (k0 + k1 + k2) * 0.5, (k0 - k1 + k2) * 0.5, k2]


def _g_adjoint(spread):
    s0, s1, s2, s3 = spread
    half = (s1 + s2) * 0.5
    return [s0 + half, (s1 - s2) * 0.5, s3 + half]


def _a(answer):
    y0, y1 = answer
    return [y0, y0 + y1, y0 - y1, -y1]


def _a_adjoint(spread):
    s0, s1, s2, s3 = spread
    return [s0 + s1 + s2, s1 - s2 - s3]


def _tiles(x):
    n, height, width, c = x.shape
    h, w = height // 2, width // 2
    x = x.reshape(n, h, 2, w, 2, c)
    rows = [x[:, start : start + h - 1, i] for start in (0, 1) for i in (0, 1)]
    tiles = []
    for row in _b(rows):
        columns = [row[:, :, start : start + w - 1, i] for start in (0, 1) for i in (0, 1)]
        tiles += [tile.reshape(-1, c) for tile in _b(columns)]
    return tiles


def _overlap(parts, axis):
    """Even and odd pixels along `axis` from the four pixels of each tile; tiles overlap by 2."""

    def shifted(part, by):
        widths = [(0, 0, 0)] * part.ndim
        widths[axis] = (by, 1 - by, 0)
        return lax.pad(part, jnp.zeros((), part.dtype), widths)

    even0, odd0, even1, odd1 = parts
    return [shifted(even0, 0) + shifted(even1, 1), shifted(odd0, 0) + shifted(odd1, 1)]


def _tiles_adjoint(tiles, n, height, width):
    h, w, c = height // 2, width // 2, tiles[0].shape[-1]
    tiles = [tile.reshape(n, h - 1, w - 1, c) for tile in tiles]
    rows = [jnp.stack(_overlap(_b_adjoint(tiles[4 * i : 4 * i + 4]), 2), axis=3) for i in range(4)]
    return jnp.stack(_overlap(_b_adjoint(rows), 1), axis=2).reshape(n, height, width, c)


def _spread_kernel(kernel):
    rows = _g([kernel[0], kernel[1], kernel[2]])
    return [spread for row in rows for spread in _g([row[0], row[1], row[2]])]


def _spread_kernel_adjoint(spread):
    rows = [_g_adjoint(spread[4 * i : 4 * i + 4]) for i in range(4)]
    columns = [_g_adjoint(list(column)) for column in zip(*rows, strict=True)]
    return jnp.stack([jnp.stack([column[i] for column in columns]) for i in range(3)])


def _spread(y):
    n, height, width, f = y.shape
    y = y.reshape(n, height // 2, 2, width // 2, 2, f)
    spread = []
    for row in _a([y[:, :, 0], y[:, :, 1]]):
        spread += [part.reshape(-1, f) for part in _a([row[:, :, :, 0], row[:, :, :, 1]])]
    return spread


def _gather(spread, n, height, width):
    f = spread[0].shape[-1]
    spread = [part.reshape(n, height // 2, width // 2, f) for part in spread]
    rows = [_a_adjoint(spread[4 * i : 4 * i + 4]) for i in range(4)]
    columns = [_a_adjoint(list(column)) for column in zip(*rows, strict=True)]
    rows = [jnp.stack([column[i] for column in columns], axis=3) for i in range(2)]
    return jnp.stack(rows, axis=2).reshape(n, height, width, f)

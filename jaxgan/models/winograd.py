"""Winograd's minimal filtering F(2x2, 3x3): a 3x3 convolution of stride 1 in 4/9 of the
multiplications (Lavin & Gray, arXiv:1509.09308, section 4.1).

As a trilinear form, ``<convolve(x, kernel), y>`` is ``sum over 16 of <B x, G kernel, A y>``,
where B cuts the image into overlapping 4x4 tiles, G spreads the kernel over 4x4 and A spreads
the 2x2 answers over 4x4. So the forward pass and both of its adjoints are 16 matrix products
each, between the same three transforms or their transposes: what one of them computed is
shared with the others by XLA's common subexpressions.

All functions take even-sized answers: `x` is ``[N, H + 2, W + 2, C]``, `y` is ``[N, H, W, F]``
with H and W even, `kernel` is ``[3, 3, C, F]``. Transformed arrays are ``[16, ...]``, rows
before columns. The barriers keep XLA from fusing rows into columns (and loads into both),
which would do the work of one inside the other again and again.
"""

import jax.numpy as jnp
import numpy as np
from jax import lax

_G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
_G = np.kron(_G, _G)  # rows and columns: [16, 9]


def forward(x, kernel):
    n, height, width, _ = x.shape
    x, kernel = lax.optimization_barrier((x, kernel))
    products = jnp.einsum("bxc,bcf->bxf", _tiles(x), _spread_kernel(kernel))
    return _spread_adjoint(products, n, height - 2, width - 2)


def input_adjoint(y, kernel):
    n, height, width, _ = y.shape
    y, kernel = lax.optimization_barrier((y, kernel))
    products = jnp.einsum("bxf,bcf->bxc", _spread(y), _spread_kernel(kernel))
    return _tiles_adjoint(products, n, height + 2, width + 2)


def weight_adjoint(x, y):
    x, y = lax.optimization_barrier((x, y))
    products = jnp.einsum("bxc,bxf->bcf", _tiles(x), _spread(y))
    return _spread_kernel_adjoint(products)


def _spread_kernel(kernel):
    spread = jnp.asarray(_G, kernel.dtype) @ kernel.reshape(9, -1)
    return spread.reshape(16, *kernel.shape[2:])


def _spread_kernel_adjoint(spread):
    kernel = jnp.einsum("bk,bcf->kcf", jnp.asarray(_G, spread.dtype), spread)
    return kernel.reshape(3, 3, *kernel.shape[1:])


# The one-dimensional transforms and their adjoints, on lists of arrays.


def _b(pixels):
    p0, p1, p2, p3 = pixels
    return [p0 - p2, p1 + p2, p2 - p1, p1 - p3]


def _b_adjoint(tile):
    t0, t1, t2, t3 = tile
    return [t0, t1 - t2 + t3, t1 + t2 - t0, -t3]


def _a(answer):
    y0, y1 = answer
    return [y0, y0 + y1, y0 - y1, -y1]


def _a_adjoint(spread):
    s0, s1, s2, s3 = spread
    return [s0 + s1 + s2, s1 - s2 - s3]


def _four(x, axis):
    """The four pixels of every tile along `axis`, which counts pairs of pixels; tiles overlap
    by two. The axis after it holds the pixels of a pair."""
    pairs = x.shape[axis]
    return [
        lax.index_in_dim(lax.slice_in_dim(x, i, i + pairs - 1, axis=axis), j, axis + 1, False)
        for i in (0, 1)
        for j in (0, 1)
    ]


def _overlap(pixels, axis):
    """The adjoint of `_four`."""

    def shifted(part, by):
        widths = [(0, 0, 0)] * part.ndim
        widths[axis] = (by, 1 - by, 0)
        return lax.pad(part, jnp.zeros((), part.dtype), widths)

    p0, p1, p2, p3 = pixels
    pair = [shifted(p0, 0) + shifted(p2, 1), shifted(p1, 0) + shifted(p3, 1)]
    return jnp.stack(pair, axis + 1)


def _tiles(x):
    n, height, width, c = x.shape
    x = x.reshape(n, height // 2, 2, width * c)
    rows = lax.optimization_barrier(jnp.stack(_b(_four(x, 1))))
    rows = rows.reshape(4, n, height // 2 - 1, width // 2, 2, c)
    return jnp.stack(_b(_four(rows, 3)), axis=1).reshape(16, -1, c)


def _tiles_adjoint(tiles, n, height, width):
    h, w, c = height // 2 - 1, width // 2 - 1, tiles.shape[-1]
    tiles = tiles.reshape(4, 4, n, h, w, c)
    rows = _overlap(_b_adjoint([tiles[:, i] for i in range(4)]), 3)
    rows = lax.optimization_barrier(rows).reshape(4, n, h, width * c)
    return _overlap(_b_adjoint(list(rows)), 1).reshape(n, height, width, c)


def _spread(y):
    n, height, width, f = y.shape
    y = y.reshape(n, height // 2, 2, width * f)
    rows = lax.optimization_barrier(jnp.stack(_a([y[:, :, 0], y[:, :, 1]])))
    rows = rows.reshape(4, n, height // 2, width // 2, 2, f)
    return jnp.stack(_a([rows[..., 0, :], rows[..., 1, :]]), axis=1).reshape(16, -1, f)


def _spread_adjoint(spread, n, height, width):
    h, w, f = height // 2, width // 2, spread.shape[-1]
    spread = spread.reshape(4, 4, n, h, w, f)
    rows = jnp.stack(_a_adjoint([spread[:, i] for i in range(4)]), axis=4)
    rows = lax.optimization_barrier(rows).reshape(4, n, h, width * f)
    return jnp.stack(_a_adjoint(list(rows)), axis=2).reshape(n, height, width, f)

"""How many floating-point operations a function takes: convolutions and matrix products.

Counted in the program as it is traced, so that the figure belongs to the algorithm and not to a
device. XLA's own analysis counts a loop's body once, and doesn't see into the library calls that
a GPU's convolutions are.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax


def count(function: Callable, *args: Any) -> int:
    """FLOPs of `function(*args)`; arguments may be `jax.ShapeDtypeStruct`.

    A multiplication and its addition count as two. Of the branches of a `cond` the dearest
    counts, of a `while` one round. Pixels that padding adds count, zeros that a stride puts
    between pixels don't.
    """
    return _count(jax.make_jaxpr(function)(*args).jaxpr)


def _count(jaxpr: Any) -> int:
    total = 0
    for equation in jaxpr.eqns:
        name, params = equation.primitive.name, equation.params
        if name == "conv_general_dilated":
            total += _convolution(equation)
        elif name == "dot_general":
            ((contracted, _), _) = params["dimension_numbers"]
            left = equation.invars[0].aval.shape
            summed = math.prod(left[axis] for axis in contracted)
            total += 2 * summed * equation.outvars[0].aval.size
        elif name == "cond":
            total += max(_count(branch.jaxpr) for branch in params["branches"])
        else:
            total += params.get("length", 1) * sum(map(_count, _inner(params)))
    return total


def _convolution(equation: Any) -> int:
    kernel = equation.invars[1].aval
    features = kernel.shape[equation.params["dimension_numbers"].rhs_spec[0]]
    taps = kernel.size // features  # of one output
    zeros = math.prod(equation.params["lhs_dilation"])
    return 2 * equation.outvars[0].aval.size * taps // zeros


def _inner(params: dict[str, Any]) -> Iterator[Any]:
    for value in params.values():
        for each in value if isinstance(value, tuple | list) else (value,):
            inner = getattr(each, "jaxpr", each)
            if hasattr(inner, "eqns"):
                yield inner

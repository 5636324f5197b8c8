"""Names in a config, and what they stand for."""

import importlib
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
from ml_collections import ConfigDict

from jaxgan.commandline import nearest
from jaxgan.errors import UserError
from jaxgan.losses import adversarial

SOME_CLASSES = 10  # where nobody has looked at the data yet
ADVERSARIAL = {
    "lsgan": adversarial.lsgan,
    "bce": adversarial.bce,
    "saturating": adversarial.saturating,
    "hinge": adversarial.hinge,
    "wasserstein": adversarial.wasserstein,
    "relativistic": adversarial.relativistic,
    "relativistic_average": adversarial.relativistic_average,
}


def choose(field: str, name: str, table: Mapping[str, Any]) -> Any:
    """`table[name]`; or, for a name like `module:function`, that function of the user's own.

    Raises:
      UserError: for an unknown name, with the nearest, or a module that can't be imported.
    """
    if ":" in name:
        module, _, function = name.partition(":")
        try:
            found = importlib.import_module(module)
        except Exception as error:  # whatever the module raises
            raise UserError(
                f"{field}={name!r} can't be imported ({type(error).__name__}: {error}); it should "
                "be MODULE:FUNCTION, with MODULE.py in the folder that the command is run from"
            ) from None
        if not callable(getattr(found, function, None)):
            raise UserError(f"{field}={name!r}: {found.__name__} has no function {function!r}")
        return getattr(found, function)
    if name not in table:
        raise UserError(f"{field}={name!r} is unknown: {nearest(name, list(table))}")
    return table[name]


def types(config: ConfigDict) -> dict[str, Any]:
    """The fields of every network that say what is computed in, and on which path."""
    compute = {"float32": jnp.float32, "bfloat16": jnp.bfloat16, "float64": jnp.float64}
    compute = compute[config.precision]
    return {
        "dtype": compute,
        "param_dtype": jnp.float64 if compute == jnp.float64 else jnp.float32,
        "path": config.model.convolution,
    }

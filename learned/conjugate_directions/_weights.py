"""Networks in files, and those that krylax ships.

A file describes itself: its architecture, and every weight by name
(`training/_checkpoint.py`). Shipped ones are kept in half precision, whose error of
5e-4 is far below what the training leaves open, and computed with in single precision.
"""

import hashlib
from os import PathLike
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import DTypeLike

from ...operators._arguments import shown
from ...solvers import _registry as registry
from ..training._checkpoint import read_arrays, write_arrays
from ..training._registry import filled, named_arrays
from ._masked import Masked
from ._network import DeepConjugateDirection
from ._safeguarded import Safeguarded

KIND = "conjugate direction"
VERSION = 1
FOLDER = Path(__file__).parent / "weights"
SUFFIX = ".safetensors"
DTYPES = ("float64", "float32", "float16", "bfloat16")
FIELDS = ("architecture", "num_dimensions", "normalization")


def save(
    path: str | PathLike[str],
    model: DeepConjugateDirection,
    *,
    dtype: DTypeLike | None = None,
) -> None:
    """Write a network to a file, which is then whole or as before.

    Args:
        path: of the file, in the format safetensors.
        model: the network; how its norm is reduced is not kept.
        dtype: that the weights are kept in, by default their own.

    Raises:
        TypeError: no `DeepConjugateDirection`.
        ValueError: a weight is NaN or infinite, in that dtype, or the dtype holds no
            fractions.
    """
    if not isinstance(model, DeepConjugateDirection):
        raise TypeError(
            "model must be a DeepConjugateDirection, got a "
            f"{type(model).__name__}; write other modules with "
            "equinox.tree_serialise_leaves"
        )
    if dtype is not None and not jnp.issubdtype(jnp.dtype(dtype), jnp.floating):
        raise ValueError(
            f"dtype must be one of floating-point numbers, got {jnp.dtype(dtype).name}"
        )
    arrays = named_arrays(model)
    configuration: dict[str, Any] = {name: getattr(model, name) for name in FIELDS}
    configuration["dtype"] = model.stem.weight.dtype.name
    kept = {
        name: array if dtype is None else array.astype(jnp.dtype(dtype))
        for name, array in arrays.items()
    }
    write_arrays(path, KIND, VERSION, configuration, kept)


def load(path: str | PathLike[str]) -> DeepConjugateDirection:
    """Read a network from a file, or one that krylax ships.

    Args:
        path: of a file, or one of the names that `available` lists.

    Raises:
        FileNotFoundError: neither a file nor such a name.
        ValueError: the file is damaged, of another kind, version or architecture, or
            holds NaN or infinity.

    Examples:
        >>> from krylax.learned import conjugate_directions as cd
        >>> net = cd.load("from64-2d")
        >>> cd.num_parameters(net)
        32657
    """
    if isinstance(path, str) and path in available():
        path = FOLDER / (path + SUFFIX)
    elif not Path(path).exists():
        raise FileNotFoundError(
            f"{path} is neither a file nor one of the shipped networks, "
            f"{', '.join(available())}"
        )
    arrays, configuration = read_arrays(path, KIND, VERSION)
    try:
        if configuration["dtype"] not in DTYPES:
            raise ValueError(f"weights of dtype {shown(configuration['dtype'])}")
        dtype = jnp.dtype(configuration["dtype"])
        fields = {name: configuration[name] for name in FIELDS}
        like: Any = eqx.filter_eval_shape(
            lambda key: DeepConjugateDirection(key=key, dtype=dtype, **fields),
            jax.random.key(0),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"{path} describes no network of this krylax: {error}"
        ) from error
    # Weights may be kept in a lower precision than they are computed with.
    return filled(like, arrays, str(path), dtype)


def available() -> tuple[str, ...]:
    """Return the names of the networks that krylax ships, for `load`.

    "from64-2d" was trained on 64² cells and "from64-3d" on 32³, on boxes with random
    obstacles that are open at the end of the last axis
    (validation/conjugate_directions/train_shipped.py).
    """
    return tuple(sorted(path.stem for path in FOLDER.glob(f"*{SUFFIX}")))


def fingerprint(model: Any) -> str:
    """Return the SHA-256 of all that decides what a network makes of a residual."""
    digest = hashlib.sha256(str([getattr(model, name) for name in FIELDS]).encode())
    for name, array in sorted(named_arrays(model).items()):
        digest.update(f"{name} {array.dtype.name} {array.shape}".encode())
        digest.update(np.asarray(array, "<f8").tobytes())
    return digest.hexdigest()


def _record(model: DeepConjugateDirection) -> dict[str, Any]:
    """The sum of its weights, and the name of a shipped network."""
    found = fingerprint(model)
    names = [name for name in available() if fingerprint(load(name)) == found]
    return {"name": names[0] if names else None, "sha256": found}


def _from_record(name: str | None, sha256: str) -> DeepConjugateDirection:
    if name is None or name not in available():
        raise ValueError(
            f"the network with the weights {sha256} is none that krylax ships; give "
            "it as the preconditioner"
        )
    model = load(name)
    if fingerprint(model) != sha256:
        raise ValueError(
            f"the network {name!r} has the weights {fingerprint(model)} here, the "
            f"data set was made with {sha256}; use the krylax that made it, or give "
            "its network as the preconditioner"
        )
    return model


registry.register(DeepConjugateDirection, _record, _from_record)
registry.register(Masked)
registry.register(Safeguarded)

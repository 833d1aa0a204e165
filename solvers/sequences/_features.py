"""Features of systems, on which the distance between two of them is measured.

Short features make ordering cheap; those of the operator measure what matters to a
solver.
"""

from collections.abc import Iterable

import jax
import numpy as np
import scipy.fft
from jaxtyping import Float, PyTree

from ...operators import AbstractLinearOperator
from ...operators._arguments import as_reals, require_count
from ...operators._field import ravel
from ._feature_matrix import as_features


def low_modes(
    fields: Float[np.ndarray, " systems *grid"], num_modes: int
) -> Float[np.ndarray, "systems features"]:
    """Return the lowest coefficients of the orthonormal cosine transform of fields.

    Their distances are those of the smoothed fields.

    Args:
        fields: one per system, on a grid.
        num_modes: number of modes that are kept per axis.

    Raises:
        ValueError: num_modes below 1, or fields that are not real.

    Examples:
        >>> import numpy as np
        >>> from krylax.solvers.sequences import low_modes
        >>> low_modes(np.ones((3, 8, 8)), 4).shape
        (3, 16)
    """
    require_count(num_modes, "num_modes")
    fields = as_reals(fields, "fields")
    if fields.ndim == 0 or fields.size == 0:
        raise ValueError(
            f"fields must be one field per system, got shape {fields.shape}"
        )
    axes = tuple(range(1, fields.ndim))
    modes = np.asarray(scipy.fft.dctn(fields, axes=axes, norm="ortho"))
    kept = modes[(slice(None), *[slice(num_modes)] * len(axes))]
    return kept.reshape(len(kept), -1)


def principal_components(
    features: Float[np.ndarray, "systems features"], num_components: int
) -> Float[np.ndarray, "systems components"]:
    """Return the principal components of the features.

    Args:
        features: one row per system, finite.
        num_components: at most the number of systems and of features.

    Raises:
        ValueError: features that are not a finite matrix, or a number out of range.

    Examples:
        >>> import numpy as np
        >>> from krylax.solvers.sequences import principal_components
        >>> rows = np.array([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])
        >>> abs(principal_components(rows, 1)).ravel().round(12).tolist()
        [5.0, 0.0, 5.0]
    """
    features = as_features(features)
    require_count(num_components, "num_components")
    if num_components > min(features.shape):
        raise ValueError(
            f"num_components must be at most {min(features.shape)} for "
            f"{features.shape[0]} systems with {features.shape[1]} features, got "
            f"{num_components}"
        )
    _, _, directions = np.linalg.svd(features, full_matrices=False)
    return features @ directions[:num_components].T


def random_projection(
    features: Float[np.ndarray, "systems features"], num_features: int, *, seed: int = 0
) -> Float[np.ndarray, "systems projected"]:
    """Return a random projection of the features, which nearly preserves distances.

    W. B. Johnson, J. Lindenstrauss, Contemp. Math. 26 (1984): to preserve the distances
    of N systems within ε, about 8 ln(N) / ε² features are enough, however many there
    were.

    Args:
        features: one row per system, finite.
        num_features: number of features that are returned.
        seed: of the random matrix.

    Raises:
        ValueError: features that are not a finite matrix, or num_features below 1.

    Examples:
        >>> import numpy as np
        >>> from krylax.solvers.sequences import random_projection
        >>> random_projection(np.ones((5, 1000)), 20).shape
        (5, 20)
    """
    features = as_features(features)
    require_count(num_features, "num_features")
    require_count(seed, "seed", 0)
    matrix = _projection(features.shape[1], num_features, seed)
    return features @ matrix


def operator_features(
    operators: Iterable[AbstractLinearOperator],
    U: PyTree,
    *,
    num_features: int = 64,
    seed: int = 0,
) -> Float[np.ndarray, "systems features"]:
    """Return features whose distances approximate ‖(A_i − A_j)U‖, the Frobenius norm.

    U is the recycle space of a solver: to the solver, operators that act alike on U are
    alike. The features are random projections of A_i U, of which one at a time is held.

    Args:
        operators: the A_i, on the same fields, real or complex.
        U: fields stacked along a first axis, such as `carry.U`.
        num_features: number of features that are returned; distances are preserved
            within about (8 ln(N) / num_features)^(1/2).
        seed: of the projection.

    Raises:
        ValueError: num_features below 1, or no operators.

    Cost: per system, one product for each field of U, and num_features operations for
    each entry of U.
    """
    require_count(num_features, "num_features")
    require_count(seed, "seed", 0)
    apply = jax.jit(lambda A, U: A.mm(U))
    matrix, rows = None, []
    for A in operators:
        image = np.asarray(ravel(apply(A, U)))
        # Distances of complex numbers are those of their real and imaginary parts.
        image = image.view(np.float64) if np.iscomplexobj(image) else image
        if matrix is None:
            matrix = _projection(image.size, num_features, seed)
        rows.append(image @ matrix)
    if not rows:
        raise ValueError("operators must not be empty")
    return np.stack(rows)


def _projection(
    num_features: int, num_projected: int, seed: int
) -> Float[np.ndarray, "features projected"]:
    random = np.random.default_rng(seed)
    return random.standard_normal((num_features, num_projected)) / num_projected**0.5

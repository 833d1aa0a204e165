"""A few solves at the flags of XLA that users have, each against dense algebra.

Run by test_users_flags.py in a process of its own: the suite compiles without the
optimisations of XLA, which may themselves change a result. Prints errors as JSON.
"""

import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

jax.config.update("jax_enable_x64", True)

import krylax as kx  # noqa: E402

RTOL = 1e-10
SHAPE = (12, 10)
solvers = kx.solvers


def coefficient(seed: int) -> np.ndarray:
    draws = np.random.default_rng(seed).random(SHAPE)
    return np.where(draws < 0.5, 12.0, 3.0)


def error(A: Any, b: Any, x: Any) -> float:
    """‖b - A x‖ / ‖b‖ by NumPy."""
    residual = np.ravel(b) - np.asarray(A.as_matrix()) @ np.ravel(x)
    return float(np.linalg.norm(residual) / np.linalg.norm(b))


def solve_error(make: Any, preconditioner: Any = None, flow: bool = False) -> float:
    k, b = coefficient(1), np.cos(np.arange(120.0)).reshape(SHAPE)
    velocity = np.ones((2, *SHAPE))
    A = kx.operators.ConvectionDiffusion(k, velocity) if flow else diffusion(k)
    found = kx.solve(A, jnp.asarray(b), make(rtol=RTOL), preconditioner=preconditioner)
    return error(A, b, found.value)


def diffusion(k: Any) -> Any:
    return kx.operators.Diffusion(k)


def sequence_error() -> float:
    """The second solve, which starts from the recycled space of the first."""
    solver = solvers.GCRODR(rtol=RTOL, restart=20, num_recycled=5)
    b, carry, errors = jnp.ones(SHAPE), None, []
    for seed in (1, 2):
        A = diffusion(coefficient(seed))
        found = kx.solve(A, b, solver, carry=carry)
        carry = found.carry
        errors.append(error(A, b, found.value))
    return max(errors)


def gradient_error() -> float:
    """That of the sum of the solution by b: A⁻ᵀ 1."""
    A, b = diffusion(coefficient(1)), jnp.ones(SHAPE)
    method = solvers.CG(rtol=RTOL)
    found = jax.grad(lambda b: jnp.sum(kx.solve(A, b, method).value))(b)
    return error(A, np.ones(SHAPE), found)


def singular_error() -> float:
    """All walls insulate: the constants are the null space."""
    k = coefficient(1)
    A = kx.operators.Diffusion(k, boundary="neumann", nullspace="constant")
    b = np.cos(np.arange(120.0)).reshape(SHAPE)
    b -= b.mean()
    x = kx.solve(A, jnp.asarray(b), solvers.CG(rtol=RTOL)).value
    return max(error(A, b, x), float(abs(np.mean(x)) / np.abs(x).max()))


def data_set_error(folder: str) -> float:
    """Of the stored solutions, by CG with Multigrid, with the operator made again."""
    family = kx.datasets.Darcy(num_points=SHAPE)
    path = Path(folder) / "darcy"
    found = kx.datasets.generate(family, 4, path, rtol=RTOL, progress=False)
    errors = []
    for index in range(4):
        A, b = family.system(family.sample(index))
        errors.append(error(A, b, found[index]["solution"]))
    return max(errors)


CASES = {
    "gmres": partial(solve_error, partial(solvers.GMRES, restart=30), flow=True),
    "minres": partial(solve_error, solvers.MINRES),
    "ssor": partial(solve_error, solvers.CG, solvers.SSOR(1.3)),
    "gcrodr": sequence_error,
    "gradient": gradient_error,
    "singular": singular_error,
}

if __name__ == "__main__":
    errors = {name: case() for name, case in CASES.items()}
    errors["data_set"] = data_set_error(sys.argv[1])
    print(json.dumps(errors))

"""Solves on the devices of a mesh, inside `jax.shard_map` with its default checks.

Run by test_sharding.py in a process of its own, which has four devices. Prints a line
for each case that went wrong.
"""

from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.sharding import PartitionSpec as P

import krylax as kx

S: Any = kx.solvers
ALL: Any = S.InnerProduct(axis_name="x")
N = 16
BATCH = np.random.default_rng(0).standard_normal((4, N))
MEAN_FREE = np.cos(np.pi * (np.arange(N) + 0.5) / N)
SOLVERS = {
    "cg": S.CG,
    "minres": S.MINRES,
    "bicgstab": S.BiCGStab,
    "gmres": S.GMRES,
    "gcrodr": lambda *a, **k: S.GCRODR(*a, restart=8, num_recycled=3, **k),
    "deflated_cg": lambda *a, **k: S.DeflatedCG(*a, num_recycled=3, **k),
    "recycled_minres": lambda *a, **k: S.RecycledMINRES(*a, num_recycled=3, **k),
    "refinement": lambda rtol, **k: S.Refinement(S.CG(1e-4, **k), rtol, **k),
}
WHOLE = {
    "sor": S.SOR,
    "lu": S.LU,
    "fast_diagonalization": S.FastDiagonalization,
    "sylvester": S.Sylvester,
    "batched": lambda rtol: S.Batched(S.CG(rtol), num_lanes=1),
}
PRECONDITIONERS = {
    "jacobi": S.Jacobi(),
    "multigrid": S.Multigrid(),
    "ssor": S.SSOR(),
    "incomplete_cholesky": S.IncompleteCholesky(),
}


@cache
def mesh() -> Any:
    return jax.make_mesh((4,), ("x",))


def on_mesh(function: Any) -> Any:
    """Return a function over pieces of arrays, compiled."""
    spread = jax.NamedSharding(mesh(), P("x"))
    compiled = jax.jit(
        jax.shard_map(function, mesh=mesh(), in_specs=P("x"), out_specs=P("x"))
    )
    return lambda *arrays: compiled(*(jax.device_put(a, spread) for a in arrays))


def batch_error(solver: Any, preconditioner: Any = None) -> float:
    """The largest residual of systems of which each device has one."""

    def one(b: Any) -> Any:
        return kx.solve(A, b, solver, preconditioner=preconditioner).value

    A = kx.operators.Laplacian((N,))
    x = on_mesh(jax.vmap(one))(BATCH)
    return float(np.abs(np.asarray(x) @ np.asarray(A.as_matrix()).T - BATCH).max())


def product(v: Any) -> Any:
    """The piece of the Neumann Laplacian's product that a device has."""
    i, last = lax.axis_index("x"), 3
    low = lax.ppermute(v[-1:], "x", [(j, j + 1) for j in range(last)])
    high = lax.ppermute(v[:1], "x", [(j + 1, j) for j in range(last)])
    low, high = jnp.where(i == 0, v[:1], low), jnp.where(i == last, v[-1:], high)
    padded = jnp.concatenate([low, v, high])
    return 2 * v - padded[:-2] - padded[2:]


def field_error(solver: Any) -> float:
    """The error of one system whose field is spread, with a null space and a start."""

    def one(b: Any, x0: Any) -> Any:
        operator = kx.operators.Function(
            product,
            jax.eval_shape(lambda: b),
            tags=("symmetric", "positive_semidefinite"),
            nullspace="constant",
        )
        found = kx.solve(operator, b, solver, x0=x0, throw=False)
        return found.value, found.status[None]

    run = on_mesh(one)
    x, status = run(MEAN_FREE, np.full(N, 5.0))
    broken = MEAN_FREE.copy()
    broken[3] = np.nan
    _, of_broken = run(broken, np.full(N, 5.0))
    singular = kx.operators.Laplacian((N,), boundary="neumann", nullspace="constant")
    expected = np.linalg.pinv(np.asarray(singular.as_matrix())) @ MEAN_FREE
    has_agreed = status.tolist() == [kx.Status.converged] * 4
    has_agreed &= of_broken.tolist() == [kx.Status.nonfinite_input] * 4
    return float(np.abs(x - expected).max()) if has_agreed else np.inf


def main() -> None:
    """Try all cases."""
    errors = {
        name: batch_error(make(1e-10)) for name, make in (SOLVERS | WHOLE).items()
    }
    errors |= {
        f"cg with {name}": batch_error(S.CG(1e-10), M)
        for name, M in PRECONDITIONERS.items()
    }
    errors |= {
        f"{name} on a spread field": field_error(make(1e-10, inner_product=ALL))
        for name, make in SOLVERS.items()
    }
    print(len(errors), "cases")
    for name, error in errors.items():
        if not error <= 1e-7:
            print(f"{name}: error {error}")


if __name__ == "__main__":
    main()

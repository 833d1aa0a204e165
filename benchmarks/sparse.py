"""Which way of multiplying by a sparse matrix is fastest on this machine.

    python benchmarks/sparse.py [--num-unknowns 10000 100000 1000000]

Applies 5-point and 7-point Poisson matrices and a random one with 20 numbers per row
many times inside one compiled loop, and prints microseconds per product for each form
in float64 and float32, SciPy's in a Python loop beside them. operators/_sparse.py sums
padded rows one term after another where a third of the rows are that long, and the rest
by segments. A second table has 8 right-hand sides at once, a third the transposed
product: with our `A.T`, by differentiating our product, and by differentiating the
others, which scatters.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax

jax.config.update("jax_enable_x64", True)

import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax import Array, lax
from jax.experimental import sparse as jax_sparse

import krylax as kx

NUM_RHS = 8


def by_krylax(matrix: Any) -> tuple[Any, Callable[[Any, Array], Array]]:
    """Our operator."""
    return kx.operators.Sparse.from_scipy(matrix), lambda A, x: A.mv(x)


def by_bcsr(matrix: Any) -> tuple[Any, Callable[[Any, Array], Array]]:
    """`jax.experimental.sparse.BCSR`, on the CPU a kernel of Eigen."""
    return jax_sparse.BCSR.from_scipy_sparse(matrix), lambda A, x: A @ x


def by_segments(matrix: Any) -> tuple[Any, Callable[[Any, Array], Array]]:
    """Gather, then a sum over sorted segments."""
    rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int32), np.diff(matrix.indptr))
    num_rows = matrix.shape[0]

    def product(A: Any, x: Array) -> Array:
        data, indices, rows = A
        terms = data * x.at[indices].get(mode="promise_in_bounds")
        return jax.ops.segment_sum(
            terms, rows, num_rows, indices_are_sorted=True, mode="promise_in_bounds"
        )

    return (jnp.asarray(matrix.data), jnp.asarray(matrix.indices), rows), product


def by_rows_of_one_length(matrix: Any) -> tuple[Any, Callable[[Any, Array], Array]]:
    """ELL: rows padded to the longest, one regular gather, a sum over each row."""
    counts = np.diff(matrix.indptr)
    shape = (matrix.shape[0], int(counts.max()))
    is_stored = np.arange(shape[1]) < counts[:, None]
    data, indices = np.zeros(shape, matrix.dtype), np.zeros(shape, np.int32)
    data[is_stored], indices[is_stored] = matrix.data, matrix.indices

    def product(A: Any, x: Array) -> Array:
        data, indices = A
        return jnp.sum(data * x.at[indices].get(mode="promise_in_bounds"), axis=1)

    return (jnp.asarray(data), jnp.asarray(indices)), product


FORMS = {
    "krylax": by_krylax,
    "bcsr": by_bcsr,
    "segments": by_segments,
    "ell": by_rows_of_one_length,
}


def poisson(num_axes: int, num_unknowns: int) -> Any:
    """The 5- or 7-point matrix on a square or cube of about that many nodes."""
    side = round(num_unknowns ** (1 / num_axes))
    line = scipy.sparse.diags_array(
        [-np.ones(side - 1), 2 * np.ones(side), -np.ones(side - 1)],
        offsets=[-1, 0, 1],  # pyright: ignore[reportArgumentType]  # as documented
    )
    total = line
    for _ in range(num_axes - 1):
        total = scipy.sparse.kronsum(total, line)
    return scipy.sparse.csr_array(total)


def scattered(num_unknowns: int) -> Any:
    """20 numbers in each row, in random columns."""
    rng = np.random.default_rng(0)
    columns = np.sort(rng.integers(0, num_unknowns, (num_unknowns, 20)), axis=1)
    return scipy.sparse.csr_array(
        (
            rng.standard_normal(columns.size),
            columns.ravel().astype(np.int32),
            np.arange(0, columns.size + 1, 20, dtype=np.int32),
        ),
        shape=(num_unknowns, num_unknowns),
    )


MATRICES = {
    "5-point": lambda n: poisson(2, n),
    "7-point": lambda n: poisson(3, n),
    "20 random": scattered,
}


def transposed(form: Any) -> Any:
    """The transposed product that JAX derives from a form; all matrices are square."""

    def transposed_form(matrix: Any) -> tuple[Any, Callable[[Any, Array], Array]]:
        A, product = form(matrix)

        def derived(A: Any, y: Array) -> Array:
            return jax.linear_transpose(lambda x: product(A, x), y)(y)[0]

        return A, derived

    return transposed_form


def by_our_transpose(matrix: Any) -> tuple[Any, Callable[[Any, Array], Array]]:
    """The transposed operator, made before the loop."""
    return kx.operators.Sparse.from_scipy(matrix).T, lambda A, x: A.mv(x)


TRANSPOSED = {"A.T": by_our_transpose} | {
    name: transposed(form) for name, form in FORMS.items() if name != "bcsr"
}


def microseconds(form: Any, matrix: Any, shape: tuple[int, ...]) -> float:
    """Median of five timings of a loop of products, per product."""
    A, product = form(matrix)
    if len(shape) == 2:
        single = product
        product = jax.vmap(lambda A, x: single(A, x), in_axes=(None, 0))
    repeats = max(3, 40_000_000 // (matrix.nnz * max(1, len(shape) * 4 - 4)))
    x = jnp.asarray(np.random.default_rng(1).standard_normal(shape), matrix.dtype)

    @jax.jit
    def loop(A: Any, x: Array) -> Array:
        return lax.fori_loop(
            0, repeats, lambda _, y: y - (1e-3 * product(A, y)).astype(y.dtype), x
        )

    loop(A, x).block_until_ready()
    times = []
    for _ in range(5):
        start = time.perf_counter()
        loop(A, x).block_until_ready()
        times.append(1e6 * (time.perf_counter() - start) / repeats)
    return sorted(times)[2]


def scipy_microseconds(matrix: Any, shape: tuple[int, ...]) -> float:
    """Median of five timings of SciPy's product."""
    x = np.random.default_rng(1).standard_normal(shape).astype(matrix.dtype).T
    x = np.ascontiguousarray(x)
    repeats = max(3, 10_000_000 // matrix.nnz)
    times = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(repeats):
            _ = matrix @ x
        times.append(1e6 * (time.perf_counter() - start) / repeats)
    return sorted(times)[2]


def table(
    forms: dict[str, Any],
    num_unknowns: list[int],
    dtypes: list[str],
    num_rhs: int | None = None,
) -> None:
    """Print one line per matrix and dtype."""
    print(f"{'matrix':>10}{'unknowns':>10}{'dtype':>9}", end="")
    print("".join(f"{name:>10}" for name in [*forms, "scipy"]))
    for kind, build in MATRICES.items():
        for n in num_unknowns:
            matrix = build(n)
            size = matrix.shape[0]
            shape = (size,) if num_rhs is None else (num_rhs, size)
            for dtype in dtypes:
                converted = matrix.astype(dtype)
                cells = [microseconds(f, converted, shape) for f in forms.values()]
                cells.append(scipy_microseconds(converted, shape))
                print(f"{kind:>10}{size:>10}{dtype:>9}", end="")
                print("".join(f"{cell:10.1f}" for cell in cells), flush=True)


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument(
        "--num-unknowns", type=int, nargs="+", default=[10_000, 100_000, 1_000_000]
    )
    num_unknowns = parser.parse_args().num_unknowns
    print("one right-hand side, microseconds per product")
    table(FORMS, num_unknowns, ["float64", "float32"])
    print(f"{NUM_RHS} right-hand sides by jax.vmap, microseconds per product of all")
    table(FORMS, num_unknowns[:2], ["float64"], NUM_RHS)
    print("the transposed product; for comparison SciPy's untransposed one")
    table(TRANSPOSED, num_unknowns[:2], ["float64"])


if __name__ == "__main__":
    main()

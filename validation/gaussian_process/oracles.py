"""What one would do without a Gaussian process, in NumPy and SciPy.

Both rivals are collocation on a tensor grid, by differentiation matrices: of Chebyshev
points and, where it is periodic, of Fourier's, or of second-order differences. From the
row they take the residual, point by point, and the conditions. They share no code with
the solver.

Conditions are eliminated: next to an end, as many nodes as it has conditions follow
from the others, u = E v + m, and the equation holds on the other nodes. Newton steps
are linear systems: dense in one dimension, by sparse LU for differences, by Schur forms
or eigenvectors for constant coefficients, else dense or by GMRES with these as
preconditioner.
"""

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg as la
import scipy.sparse as sp
import scipy.sparse.linalg as spla
from lines import Condition, Line, chebyshev, differences, eliminated, fourier
from rows import Row

from krylax.learned.gaussian_process import Dirichlet, Initial, Neumann, Periodic

MAX_STEPS = 15
MOST_DENSE = 4100
"""Unknowns up to which a system without structure is dense."""


def measure(row: Row, num_points: int, rival: str) -> dict[str, Any]:
    """Return the error of a rival, "chebyshev" or "differences"; {} where it is none.

    Differences are quick on two axes, with two derivatives and one condition per end.
    """
    is_spectral = rival == "chebyshev"
    orders = _orders(row)
    is_plain = max(map(max, orders)) <= 2 and all(
        sum(order > 0 for order in o) <= 1 for o in orders
    )
    conditions = conditions_of(row)
    is_plain &= len({(c.axis, c.side) for c in conditions}) == len(conditions)
    if not is_spectral and not (is_plain and len(row.domain) <= 2):
        return {}
    periodic = {c.axis for c in row.conditions if isinstance(c, Periodic)}
    lines = []
    for axis, interval in enumerate(row.domain):
        own = [c for c in conditions if c.axis == axis]
        if not is_spectral:
            made = differences(*interval, num_points, axis in periodic)
        elif axis in periodic:
            made = fourier(*interval, num_points)
        else:
            made = chebyshev(*interval, num_points)
        lines.append(eliminated(*made, own))
    U, num_steps = _newton(row, lines, conditions)
    for axis, (own, x) in enumerate(zip(lines, row.test_points(), strict=True)):
        U = _along(own.resampled(x), U, axis)
    return {"error": row.error(U), "num_points": num_points, "num_steps": num_steps}


def conditions_of(row: Row) -> list[Condition]:
    """Return the conditions of a row, one by one."""
    num_axes = len(row.domain)
    special = {
        c.axis % num_axes for c in row.conditions if isinstance(c, Initial | Periodic)
    }
    found = []
    for c in row.conditions:
        if isinstance(c, Initial):
            axis = c.axis % num_axes
            found.append(Condition(axis, 0, c.order, _without(c.g, axis)))
        elif isinstance(c, Dirichlet | Neumann):
            faces = c.faces or [
                (axis, side)
                for axis in range(num_axes)
                if axis not in special
                for side in ("low", "high")
            ]
            order = int(isinstance(c, Neumann))
            for axis, side in faces:
                sign = -1.0 if order and side == "low" else 1.0
                value = _scaled(c.g, sign)
                found.append(Condition(axis, int(side == "high"), order, value))
    return found


def _scaled(g: Any, sign: float) -> Callable[..., Any]:
    return lambda *x: sign * np.asarray(g(*x) if callable(g) else g)


def _without(g: Any, axis: int) -> Callable[..., Any]:
    return lambda *x: _scaled(g, 1.0)(*x[:axis], *x[axis + 1 :])


def _along(matrix: Any, values: np.ndarray, axis: int) -> np.ndarray:
    moved = np.moveaxis(values, axis, 0)
    flat = matrix @ moved.reshape(moved.shape[0], -1)
    return np.moveaxis(flat.reshape(-1, *moved.shape[1:]), 0, axis)


def _lift(lines: Sequence[Line], conditions: Sequence[Condition]) -> np.ndarray:
    """Return m on all nodes: what meets the conditions, zero away from the ends."""
    shape = tuple(len(line.points) for line in lines)
    m = np.zeros(shape)
    for axis, line in enumerate(lines):
        own = [c for c in conditions if c.axis == axis]
        change = np.zeros(shape)
        for index, c in enumerate(own):
            coordinates = [o.points for o in lines]
            coordinates[axis] = line.points[[0, -1]][[c.side]]
            grid = np.meshgrid(*coordinates, indexing="ij", sparse=True)
            face = [n if d != axis else 1 for d, n in enumerate(shape)]
            given = np.broadcast_to(c.value(*grid), face)
            missing = given - _along(line.functionals[index : index + 1], m, axis)
            change += _along(line.blending[:, index : index + 1], missing, axis)
        m = m + change
    return m


def _orders(row: Row) -> list[tuple[int, ...]]:
    """The derivatives that the residual asks for, without those that come as zeros."""
    x = tuple(jnp.zeros([1] * len(row.domain)) for _ in row.domain)
    asked = {(0,) * len(row.domain)}

    def u(*orders: int) -> Any:
        asked.add(orders or (0,) * len(row.domain))
        return jnp.zeros([1] * len(row.domain))

    row.residual(x, u)
    return sorted(asked)


class _Equation:
    """The residual on the inner nodes, and its linearisation."""

    def __init__(self, row: Row, lines: Sequence[Line]) -> None:
        self.row, self.lines = row, lines
        self.orders = _orders(row)
        inner = [line.points[line.inner] for line in lines]
        self.x = tuple(np.meshgrid(*inner, indexing="ij", sparse=True))
        self.shape = tuple(len(x) for x in inner)

    def values(self, U: np.ndarray) -> dict[tuple[int, ...], Any]:
        """Return the derivatives on the inner nodes, of values on all nodes."""
        found = {}
        for orders in self.orders:
            value = U
            for axis, (line, order) in enumerate(zip(self.lines, orders, strict=True)):
                value = _along(line.derivatives[order][line.inner], value, axis)
            found[orders] = jnp.asarray(value)
        return found

    def residual(self, values: dict[tuple[int, ...], Any]) -> Any:
        """Return it for given derivatives."""
        zero = (0,) * len(self.lines)
        return self.row.residual(self.x, lambda *orders: values[orders or zero])

    def coefficients(
        self, values: dict[tuple[int, ...], Any]
    ) -> dict[tuple[int, ...], np.ndarray]:
        """Return the factor of each derivative in the linearisation."""
        found = {}
        for orders in self.orders:
            along = {o: jnp.full_like(v, float(o == orders)) for o, v in values.items()}
            slope = jax.jvp(self.residual, (values,), (along,))[1]
            slope = np.broadcast_to(np.asarray(slope), self.shape)
            if np.any(slope):
                found[orders] = slope
        return found

    def matrices(self, orders: tuple[int, ...]) -> list[Any]:
        """Return a derivative along each axis, of inner values on inner nodes."""
        return [
            line.derivatives[order][line.inner] @ line.extension
            for line, order in zip(self.lines, orders, strict=True)
        ]


def _newton(
    row: Row, lines: Sequence[Line], conditions: Sequence[Condition]
) -> tuple[np.ndarray, int]:
    equation = _Equation(row, lines)
    U, before = _lift(lines, conditions), np.inf
    for step in range(1, MAX_STEPS + 1):
        values = equation.values(U)
        F = np.asarray(equation.residual(values))
        v = _linear_solve(equation, equation.coefficients(values), -F)
        for axis, line in enumerate(lines):
            v = _along(line.extension, v, axis)
        U, size = U + v, np.linalg.norm(v)
        # Below it is rounding that steps repeat.
        if size <= 1e-13 * np.linalg.norm(U) or (
            size > before / 2 and size < 1e-6 * np.linalg.norm(U)
        ):
            return U, step
        before = size
    raise ArithmeticError(f"Newton needs more than {MAX_STEPS} steps")


def _linear_solve(equation: _Equation, c: dict[Any, np.ndarray], rhs: Any) -> Any:
    size = prod(equation.shape)
    if sp.issparse(equation.lines[0].derivatives[0]):
        return _sparse_solve(equation, c, rhs)
    if len(equation.shape) == 1:
        return np.linalg.solve(_dense(equation, c), rhs)
    is_sum = all(sum(order > 0 for order in o) <= 1 for o in c)
    is_constant = all(np.ptp(v) <= 1e-14 * np.abs(v).max() for v in c.values())
    if is_sum and is_constant:
        return _sum_solver(equation, c)(rhs)
    if size <= MOST_DENSE:
        return np.linalg.solve(_dense(equation, c), rhs.ravel()).reshape(rhs.shape)
    near = _sum_solver(equation, c)
    matrices = {o: equation.matrices(o) for o in c}

    def product(v: Any) -> Any:
        total = np.zeros(equation.shape)
        for orders, factor in c.items():
            value = v.reshape(equation.shape)
            for axis, matrix in enumerate(matrices[orders]):
                value = _along(matrix, value, axis)
            total += factor * value
        return total.ravel()

    def inverse(v: Any) -> Any:
        return near(v.reshape(equation.shape)).ravel()

    A, M = (_Function(size, f) for f in (product, inverse))
    v, info = spla.gmres(A, rhs.ravel(), M=M, rtol=1e-11, restart=60, maxiter=2)
    if info:
        raise ArithmeticError("GMRES needs more than 120 steps")
    return v.reshape(rhs.shape)


class _Function(spla.LinearOperator):
    """A square operator by its product."""

    def __init__(self, size: int, product: Callable[[Any], Any]) -> None:
        super().__init__(float, (size, size))
        self.product = product

    def _matvec(self, x: Any) -> Any:
        return self.product(x)


def _dense(equation: _Equation, c: dict[Any, np.ndarray]) -> np.ndarray:
    total = np.zeros((prod(equation.shape),) * 2)
    for orders, factor in c.items():
        product = np.ones((1, 1))
        for matrix in equation.matrices(orders):
            product = np.kron(product, matrix)
        total += factor.reshape(-1, 1) * product
    return total


def _sparse_solve(equation: _Equation, c: dict[Any, np.ndarray], rhs: Any) -> Any:
    total: Any = sp.csr_array((rhs.size, rhs.size))
    for orders, factor in c.items():
        product: Any = sp.csr_array(np.ones((1, 1)))
        for line, order in zip(equation.lines, orders, strict=True):
            extension = sp.csr_array(line.extension)
            matrix = line.derivatives[order].tocsr()[line.inner] @ extension
            product = sp.kron(product, matrix, format="csr")
        total = total + sp.diags_array(factor.ravel()) @ product
    return spla.splu(sp.csc_array(total)).solve(rhs.ravel()).reshape(rhs.shape)


def _sum_solver(equation: _Equation, c: dict[Any, np.ndarray]) -> Callable[[Any], Any]:
    """Invert the sum of one-dimensional operators that has the means of the factors."""
    lines = [np.zeros((n, n)) for n in equation.shape]
    for orders, factor in c.items():
        axes = [axis for axis, order in enumerate(orders) if order]
        if len(axes) <= 1:
            axis = axes[0] if axes else 0
            lines[axis] += factor.mean() * equation.matrices(orders)[axis]
    if len(lines) == 2:
        return _sylvester(*lines)
    pairs = [np.linalg.eig(line) for line in lines]
    inverses = [np.linalg.inv(V) for _, V in pairs]
    total = sum(
        w.reshape([-1 if d == axis else 1 for d in range(len(lines))])
        for axis, (w, _) in enumerate(pairs)
    )

    def apply(rhs: Any) -> Any:
        for axis, inverse in enumerate(inverses):
            rhs = _along(inverse, rhs, axis)
        rhs = rhs / total
        for axis, (_, V) in enumerate(pairs):
            rhs = _along(V, rhs, axis)
        return rhs.real

    return apply


def _sylvester(A: np.ndarray, B: np.ndarray) -> Callable[[Any], Any]:
    """Invert X -> A X + X Bᵀ."""
    (R, P), (S, Q) = (la.schur(matrix, "complex")[:2] for matrix in (A, B.T))
    (trsyl,) = la.get_lapack_funcs(("trsyl",), (R, S))

    def apply(rhs: Any) -> Any:
        Y, scale, _ = trsyl(R, S, P.conj().T @ rhs @ Q)
        return (P @ (Y / scale) @ Q.conj().T).real

    return apply

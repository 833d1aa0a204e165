"""How a solve ended: one enum for all solvers, each member a sentence."""

import enum
from typing import Any

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Int

RUNNING = -1
"""Code of a solve that has not ended; never returned."""


class Status(enum.IntEnum):
    """How a solve ended.

    In a `Solution` it is an int32 array, one entry per system under `vmap`, so that
    `solution.status == Status.converged` works everywhere; `Status(code).sentence` says
    what it means and what to do.
    """

    sentence: str

    def __new__(cls, code: int, sentence: str) -> "Status":
        """Make a member of a code and a sentence."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.sentence = sentence
        return member

    @classmethod
    def _missing_(cls, value: Any) -> "Status | None":
        # Status(solution.status) should work on the array that a solve returns.
        return None if isinstance(value, int) else cls(int(value))

    def __str__(self) -> str:
        return self.sentence

    converged = (
        0,
        "The solve converged: the true residual, for least squares it or that of the "
        "normal equations, meets the tolerance.",
    )
    max_steps_reached = (
        1,
        "The solve reached max_steps before the residual met the tolerance; allow more "
        "steps, loosen rtol, use a better preconditioner, or a solver that suits the "
        "operator, if it is not symmetric or not definite.",
    )
    stagnated = (
        2,
        "The solve stagnated: further steps do not reduce the true residual; loosen "
        "rtol, use a higher precision, a longer restart, a better preconditioner, or a "
        "solver that suits the operator, if it is not symmetric or not definite.",
    )
    breakdown = (
        3,
        "The solve broke down: the Krylov space is exhausted, or a factor is singular, "
        "but the residual does not meet the tolerance; the operator is singular or not "
        "what it promises. LSMR solves least-squares problems of any rank.",
    )
    indefinite_operator = (
        4,
        "The operator is not positive definite: a search direction p gave pᴴAp <= 0; "
        "use a solver for indefinite systems, such as GMRES or GCRODR.",
    )
    indefinite_preconditioner = (
        5,
        "The preconditioner is not positive definite: a residual r gave rᴴM⁻¹r <= 0; "
        "use a positive definite one, or a solver that does not need it.",
    )
    nonfinite_input = (
        6,
        "The operator, the right-hand side, the start, the preconditioner or a setting "
        "of the solver holds infinite or NaN values; nothing was solved.",
    )
    nonfinite = (
        7,
        "The solve overflowed, met NaN or values too small for the dtype although its "
        "input was finite; rescale the system, use a higher precision or another "
        "preconditioner.",
    )
    incompatible_rhs = (
        8,
        "The right-hand side has a part in the null space of the singular operator, so "
        "no solution exists; subtract that part (for a constant null space, the mean).",
    )

    attained = (
        9,
        "The solve attained what rounding allows: the true residual is at most 4 eps "
        "(‖A‖‖x‖ + ‖b‖), above the tolerance that was asked for; for a smaller one use "
        "float64 fields, for which Refinement can still iterate in float32.",
    )
    diverged = (
        10,
        "The solve diverged: the residual, or its rounding error, has outgrown the "
        "right-hand side; check the tags of the operator, whether it is singular, and "
        "the relaxation factor or the bounds of the spectrum, or use another solver.",
    )


def is_solved(status: Int[Array, "*batch"]) -> Bool[Array, "*batch"]:
    """Return whether x solves the system: `converged`, or `attained`."""
    return (status == Status.converged.value) | (status == Status.attained.value)


class SolveError(RuntimeError):
    """Raised by `solve(..., throw=True)` outside `jit`; `solution` holds the result."""

    def __init__(self, message: str, solution: Any):
        super().__init__(message)
        self.solution = solution

    def __reduce__(self) -> tuple[type, tuple[str, Any]]:
        """Return how to make it again: processes hand on their errors pickled."""
        return type(self), (str(self), self.solution)


def first_of(
    *cases: tuple[Bool[Array, ""] | bool, Status | Int[Array, ""] | int],
) -> Int[Array, ""]:
    """Return the code of the first case whose condition holds, else `RUNNING`."""
    code = jnp.asarray(RUNNING, jnp.int32)
    # From the last to the first; `jnp.select` makes an array of the conditions.
    for condition, case in reversed(cases):
        reported = jnp.asarray(
            int(case) if isinstance(case, Status) else case, jnp.int32
        )
        code = lax.select(jnp.asarray(condition), reported, code)
    return code

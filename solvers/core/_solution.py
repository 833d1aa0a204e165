"""What a solve returns: the solution, how it ended, and what was done."""

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from ...operators._field import Field, is_traced
from ._status import Status, is_solved


class Statistics(eqx.Module):
    """What a solve did; one entry per system under `vmap`.

    Attributes:
        num_steps: iterations, for GMRES and GCRO-DR Arnoldi steps.
        num_matvecs: products with A, all of them: those of the recycled space, of
            recomputed residuals and of the certificate included; for least squares
            those with Aᴴ too.
        num_preconditioner_calls: applications of the preconditioner, for least squares
            of its adjoint too.
        residual: ‖b − A x‖, recomputed from the x that is returned.
        relative_residual: the same over ‖b‖; zero for b = 0. Neither means anything
            where the status is `nonfinite_input`.
        is_start_used: whether the solve began at `x0`; a start that is further from the
            solution than zero is left out, except with `unroll`.
        attainable: 4 eps (‖A‖‖x‖ + ‖b‖) / ‖b‖, a relative residual that is rounding;
            ‖A‖ is estimated by six products where the tolerance is not met, and where
            it is met this is zero.
        history: residual norms over ‖b‖ as the iteration saw them, after 0,
            `history_stride`, 2 `history_stride`, ... steps; infinity in the entries
            beyond the last step, which `steps` and `residuals` leave out. Those of a
            damped problem are of (b; 0) − (A; damping I) x.
        history_stride: 1 for up to 511 steps, doubling from there on.
        normal_residual: of a least-squares solver ‖Aᴴ(b − A x) − damping² x‖ over the
            norms of A and of the residual, with damping those of (A; damping I) and
            (b; 0) − (A; damping I) x; computed from the x that is returned, and
            infinity where the start met the tolerance. `None` of other solvers.
    """

    num_steps: Int[Array, ""]
    num_matvecs: Int[Array, ""]
    num_preconditioner_calls: Int[Array, ""]
    residual: Float[Array, ""]
    relative_residual: Float[Array, ""]
    is_start_used: Bool[Array, ""]
    attainable: Float[Array, ""]
    history: Float[Array, " length"]
    history_stride: Int[Array, ""]
    normal_residual: Float[Array, ""] | None = None

    @property
    def steps(self) -> Int[np.ndarray, " recorded"]:
        """The steps after which the history holds a residual; outside of `jit`.

        Raises:
            ValueError: under a transformation, or for many systems: take one of them.
        """
        return np.arange(self._num_recorded) * int(self.history_stride)

    @property
    def residuals(self) -> Float[np.ndarray, " recorded"]:
        """The residual norms over ‖b‖ after `steps`; outside of `jit`.

        Raises:
            ValueError: under a transformation, or for many systems: take one of them.
        """
        return np.asarray(self.history)[: self._num_recorded]

    @property
    def _num_recorded(self) -> int:
        if is_traced(self.num_steps) or jnp.ndim(self.num_steps) > 0:
            raise ValueError(
                "steps and residuals are those of one solve outside of jit; use "
                "history and history_stride, or jax.tree.map(lambda a: a[i], stats)"
            )
        return int(self.num_steps) // int(self.history_stride) + 1


class Solution(eqx.Module):
    """The result of `solve`.

    Attributes:
        value: x, with the structure of b.
        status: a `Status` code as an int32 array.
        stats: what was done, and the true residual.
        carry: what to hand to the next solve of a sequence; `None` for most solvers.
    """

    value: Field
    status: Int[Array, ""]
    stats: Statistics
    carry: PyTree = None

    def __str__(self) -> str:
        """One line for people; many systems are summed up."""
        if is_traced(self.status):
            return repr(self)
        if jnp.ndim(self.status) > 0:
            good = int(jnp.sum(is_solved(self.status)))
            return f"Solution of {self.status.size} systems, {good} solved"
        return (
            f"{Status(self.status).name} in {int(self.stats.num_steps)} steps, "
            f"relative residual {float(self.stats.relative_residual):.2e}"
        )

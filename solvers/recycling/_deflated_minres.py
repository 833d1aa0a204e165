"""MINRES for P A e = P r, which records its Lanczos vectors as it goes.

P = I - C CᴴM⁻¹ is that of the pair that deflates; what is recorded, and how the next
space is chosen from it: _lanczos_window.py.
"""

import equinox as eqx
import jax
import jax.numpy as jnp
from typing_extensions import override

from ...operators._control_flow import cond
from ...operators._field import Field
from ..core._inner_product import InnerProduct
from ..core._recurrence import AbstractRecurrence, Step
from ..core._solver import LinearSystem
from ..core._stopping import as_max_steps
from ..krylov._minres import MINRES, Vectors
from ._deflation_pair import DeflationPair
from ._lanczos_window import LanczosWindow, open_window, record


class RecordedVectors(eqx.Module):
    """The vectors of MINRES, and the window of its Lanczos recurrence."""

    minres: Vectors
    window: LanczosWindow


class DeflatedMINRES(AbstractRecurrence):
    """MINRES with the projected product.

    Attributes:
        minres: the method; the tolerances are in the system's target.
        pair: what deflates.
        num_directions: l, the length of a window.
    """

    minres: MINRES
    pair: DeflationPair
    num_directions: int = eqx.field(static=True)
    rtol: float = 0.0
    atol: float = 0.0
    max_steps: int = eqx.field(static=True, converter=as_max_steps, default=10_000)
    inner_product: InnerProduct = InnerProduct()

    @property
    @override
    def calls_per_begin(self) -> int:
        return self.minres.calls_per_begin

    @override
    def begin(self, system: LinearSystem, r: Field) -> RecordedVectors:
        minres = self.minres.begin(system, r)
        dtype = jnp.result_type(*jax.tree.leaves(r))
        window = open_window(minres.lanczos, self.pair, self.num_directions, dtype)
        return RecordedVectors(minres, window)

    @override
    def step(self, system: LinearSystem, x: Field, vectors: RecordedVectors) -> Step:
        before = vectors.minres
        Az = system.operator.mv(before.lanczos.z)
        PAz, along = cond(
            self.pair.num_vectors > 0,
            lambda: self.pair.project(Az, self.inner_product),
            lambda: (Az, jnp.zeros_like(vectors.window.B[0])),
        )
        step = self.minres.step_along(system, x, before, PAz)
        after = step.vectors.lanczos
        window = record(vectors.window, before.lanczos, after, along, step.is_taken)
        recorded = RecordedVectors(step.vectors, window)
        return eqx.tree_at(lambda s: s.vectors, step, recorded)

    def begin_again(
        self, system: LinearSystem, r: Field, vectors: RecordedVectors
    ) -> RecordedVectors:
        """Return the vectors from residual r; the window ends, and is kept."""
        minres = self.minres.begin(system, r)
        closed = eqx.tree_at(lambda w: w.is_open, vectors.window, jnp.zeros((), bool))
        return RecordedVectors(minres, closed)

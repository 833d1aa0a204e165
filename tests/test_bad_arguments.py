"""Whatever an argument is, the library takes it or says in its own words what is wrong.

No error may come from NumPy, from JAX, or from an attribute that is not there.
"""

import inspect
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx
from krylax.learned import training

ops: Any = kx.operators
S: Any = kx.solvers
seq, tuning = S.sequences, S.tuning
pytestmark = [
    pytest.mark.usefixtures("as_users_run_it"),
    # Of Equinox, before the library says what is wrong.
    pytest.mark.filterwarnings("ignore:A (JAX|NumPy) array is being set as static"),
    pytest.mark.filterwarnings("ignore:A JAX array is being set as static"),
]
LIBRARY = Path(kx.__file__).resolve().parents[2]
A = ops.Dense(2 * np.eye(4), tags="positive_definite")
K, FEATURES, ARMS = np.ones((3, 4)), np.ones((5, 3)), np.array([1.0, 1.2, 1.4])
STRUCTURE = jax.ShapeDtypeStruct((4,), jnp.float64)
SURROGATE = training.from_callable(jnp.sin, num_dimensions=1)


class Network(eqx.Module):
    """A map of residuals."""

    weight: Any

    def __call__(self, r: Any) -> Any:
        return self.weight @ r.reshape(r.shape[0])


THREE: Any = lambda A: 3  # noqa: E731  # a function without a name
NET = Network(jnp.ones((4, 4)))
VALUES: dict[str, Any] = {
    "none": None,
    "text": "x",
    "flag": True,
    "complex": 1j,
    "nan": np.nan,
    "negative": -1,
    "half": 0.5,
    "object": object(),
    "matrix": np.arange(6.0).reshape(2, 3),
    "complex_matrix": 1j * np.arange(6.0).reshape(2, 3),
    "empty": [],
    "list_of_none": [None],
    "dict": {},
    "function": lambda x: x,
    "solver": S.CG(),
    "order": S.Neumann(2),
}
TUNERS = {
    "TsallisINF": tuning.TsallisINF(ARMS),
    "ChebCB": tuning.ChebCB(ARMS, 0.0, 1.0),
    "GaussianThompson": tuning.GaussianThompson(ARMS),
    "JointSurrogate": tuning.JointSurrogate(ARMS),
    "Uniform": tuning.Uniform(ARMS),
}
CALLS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "Laplacian": (ops.Laplacian, {"shape": (3, 4)}),
    "Diffusion": (ops.Diffusion, {"coefficient": K}),
    "Helmholtz": (ops.Helmholtz, {"coefficient": K, "wavenumber_squared": 0.5}),
    "ConvectionDiffusion": (
        ops.ConvectionDiffusion,
        {"coefficient": K, "velocity": np.ones(2)},
    ),
    "MaskedPoisson": (ops.MaskedPoisson, {"cells": np.full((3, 4), 2)}),
    "Stencil": (ops.Stencil.of, {"centre": K, "couplings": {(0, 1): K}}),
    "Dense": (ops.Dense, {"matrix": np.eye(4)}),
    "Banded": (ops.Banded, {"diagonals": np.ones((1, 4)), "offsets": (0,)}),
    "Sparse": (
        ops.Sparse,
        {"data": [1.0], "indices": [0], "indptr": [0, 1, 1], "shape": (2, 2)},
    ),
    "from_scipy": (ops.from_scipy, {"matrix": ops.to_scipy(A)}),
    "Identity": (ops.Identity, {"structure": STRUCTURE}),
    "Kronecker": (lambda factor: ops.Kronecker(A, factor), {"factor": A}),
    "Block": (ops.Block, {"rows": [[A]]}),
    "Function": (ops.Function, {"function": lambda x: x, "in_structure": STRUCTURE}),
    "Inverse": (ops.Inverse, {"operator": A, "solver": S.CG()}),
    "Sum": (ops.Sum, {"left": A, "right": A}),
    "Product": (ops.Product, {"left": A, "right": A}),
    "Scaled": (ops.Scaled, {"factor": 2.0, "operator": A}),
    "check_operator": (ops.check_operator, {"operator": A, "key": jax.random.key(0)}),
    "Chebyshev": (S.Chebyshev, {"smallest": 0.5, "largest": 2.0}),
    "Refinement": (S.Refinement, {"solver": S.CG()}),
    "Batched": (S.Batched, {"solver": S.CG()}),
    "Capped": (S.Capped, {"solver": S.CG(), "cap": 3}),
    "BlockJacobi": (S.BlockJacobi, {"block_size": 2}),
    "SSOR": (S.SSOR, {}),
    "Neumann": (S.Neumann, {}),
    "Multigrid": (S.Multigrid, {}),
    "AlgebraicMultigrid": (S.AlgebraicMultigrid, {}),
    "ChebyshevPolynomial": (S.ChebyshevPolynomial, {"degree": 2}),
    "optimal_omega": (S.optimal_omega, {"jacobi_radius": 0.5}),
    "sor_steps_bound": (
        S.sor_steps_bound,
        {"omega": 1.0, "jacobi_radius": 0.5, "rtol": 1e-6},
    ),
    "greedy_order": (seq.greedy_order, {"features": FEATURES}),
    "hilbert_order": (seq.hilbert_order, {"features": FEATURES}),
    "two_opt": (seq.two_opt, {"features": FEATURES, "order": np.arange(5)}),
    "path_length": (seq.path_length, {"features": FEATURES, "order": np.arange(5)}),
    "cluster": (seq.cluster, {"features": FEATURES, "num_clusters": 2}),
    "low_modes": (seq.low_modes, {"fields": K, "num_modes": 2}),
    "Several": (seq.Several, {"operators": [A]}),
    "Method": (tuning.Method, {"solver": S.CG()}),
    "ChebCB": (tuning.ChebCB, {"arms": ARMS, "low": 0.0, "high": 1.0}),
    "TsallisINF": (tuning.TsallisINF, {"arms": ARMS}),
    "JointSurrogate": (tuning.JointSurrogate, {"arms": ARMS}),
    "Fixed": (tuning.Fixed, {"arms": ARMS, "index": 0}),
}
CALLS |= {
    name: (getattr(S, name), {})
    for name in (
        *("CG", "FlexibleCG", "MINRES", "BiCGStab", "GMRES", "FGMRES", "GCRODR"),
        *("DeflatedCG", "RecycledMINRES", "SOR", "AdaptiveSOR", "Cholesky", "LU"),
        "FastDiagonalization",
    )
}
CALLS |= {
    f"{type(factory).__name__} of": (lambda A, make=factory: make(A), {"A": A})
    for factory in (
        *(S.Jacobi(), S.BlockJacobi(2), S.SSOR(), S.IncompleteCholesky(), S.LU()),
        *(S.IncompleteLU(), S.Multigrid(), S.FastDiagonalization(), S.Cholesky()),
        *(S.ChebyshevPolynomial(2), S.AlgebraicMultigrid(), S.Deflation(np.eye(4))),
    )
}
CALLS |= {
    f"{name}.init": (tuner.init, {"key": jax.random.key(0)})
    for name, tuner in TUNERS.items()
}
# What is wrong, what was got and what was expected, where it is easily mistaken.
SENTENCES: dict[str, tuple[Callable[[], Any], str]] = {
    "omega": (lambda: S.SSOR(1j), "omega must be one number between 0 and 2.*got 1j"),
    "number_for_A": (lambda: S.Jacobi()(1), "A must be a linear operator, got int; wr"),
    "key": (lambda: TUNERS["ChebCB"].init(0), "key must be one random key.*got 0"),
    "wall": (lambda: S.Neumann(2.0), 'integer, got 2.0; a wall.*boundary="neumann"'),
    "order_for_preconditioner": (
        lambda: kx.solve(A, np.ones(4), S.CG(), preconditioner=S.Neumann()),
        r"preconditioner must be an operator or a function.*got Neumann\(\)",
    ),
    "model_for_start": (
        lambda: kx.solve(A, np.ones(4), S.CG(), x0=SURROGATE),
        r"x0 must be a field.*got a Surrogate; a surrogate makes one by surrogate\.st",
    ),
    "function_for_start": (
        lambda: kx.solve(A, np.ones(4), S.CG(), x0=jnp.sin),
        "x0 must be a field, an array or a tree of arrays, got sin;",
    ),
    "operator_for_b": (
        lambda: kx.solve(A, A, S.CG()),
        "b must be a field, an array or a tree of arrays, got a Dense",
    ),
    "model_for_preconditioner": (
        lambda: kx.solve(A, np.ones(4), S.FGMRES(), preconditioner=NET),
        r"a Network, which for A, a Dense, raised AttributeError: .*shape.*; a map of",
    ),
    "function_for_preconditioner": (
        lambda: kx.solve(A, np.ones(4), S.CG(), preconditioner=THREE),
        r"got <lambda>, which for A, a Dense, made a int; a map of residuals is one as",
    ),
    "frozen": (
        lambda: seq.solve_batch(
            lambda k: (ops.Diffusion(k), jnp.ones(4)),
            np.ones((2, 4)),
            S.DeflatedCG(),
            recycle="frozen",
        ),
        r'recycle="frozen" starts every system from one space, got no carry; give',
    ),
    "rtol": (lambda: S.CG(rtol=None), "rtol must be one number, zero or .*got None"),
    "rtol_text": (lambda: S.CG(rtol="1e-6"), "rtol must be one number.*got '1e-6'"),
    "flag": (lambda: S.CG(single_reduction="no"), "must be True or False, got 'no'"),
    "throw": (
        lambda: S.solve(A, np.ones(4), S.CG(), throw=0.5),
        "throw must be True or False, got 0.5",
    ),
    "inner_product": (
        lambda: S.CG(inner_product=None),
        "inner_product must be an InnerProduct.*got None",
    ),
    "pairs": (
        lambda: list(seq.solve_sequence([A], S.CG())),
        r"systems must be pairs \(A, b\), got Dense",
    ),
    "bandit": (lambda: tuning.BinnedTsallis(1, 0, 1), "bandit must be a TsallisINF"),
}


def arguments() -> Iterator[Any]:
    """Every argument of every call, by keyword."""
    for name, (call, _) in CALLS.items():
        for argument in inspect.signature(call).parameters:
            if argument != "make":
                yield pytest.param(name, argument, id=f"{name}-{argument}")


@pytest.mark.parametrize(("name", "argument"), [*arguments()])
def test_argument_is_taken_or_refused_in_the_words_of_the_library(
    name: str, argument: str
):
    call, good = CALLS[name]
    foreign = {}
    for kind, value in VALUES.items():
        try:
            call(**(good | {argument: value}))
        except (ValueError, TypeError) as error:
            foreign |= {} if is_ours(error) else {kind: repr(error)}
    assert not foreign


def is_ours(error: BaseException) -> bool:
    """Whether a line of the library raised it on purpose."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    is_inside = Path(frame.filename).resolve().is_relative_to(LIBRARY)
    return is_inside and (frame.line or "").startswith("raise ")


@pytest.mark.parametrize(("call", "sentence"), SENTENCES.values(), ids=SENTENCES)
def test_wrong_argument_is_told_with_what_was_expected(
    call: Callable[[], Any], sentence: str
):
    with pytest.raises((ValueError, TypeError), match=f"(?s){sentence}"):
        call()

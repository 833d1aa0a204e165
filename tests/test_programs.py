"""Constructors and factories compile few programs: on a new shape that is their cost.

Counted in a process of its own, where nothing is compiled yet.
"""

import json
import subprocess
import sys

import pytest

MAX_PROGRAMS = 3

SETUP = """
import json
import jax
jax.config.update("jax_enable_x64", True)
import jax.numpy as jnp, numpy as np, scipy.sparse, krylax as kx
ops, solvers = kx.operators, kx.solvers
counts, num_compiled = {}, 0
def count(event, seconds, **_):
    global num_compiled
    num_compiled += "backend_compile" in event
jax.monitoring.register_event_duration_secs_listener(count)
jnp.ones(3).block_until_ready()
rng = np.random.default_rng(0)
def made(name, make):
    before = num_compiled
    result = jax.block_until_ready(make())
    counts[name] = num_compiled - before
    return result
k = np.exp(rng.standard_normal((9, 11)))
v = rng.standard_normal((2, 9, 11))
cells = rng.choice([1, 2, 2, 2, 3], size=(9, 11))
S = rng.standard_normal((7, 7))
S = S @ S.T + np.eye(7)
matrix = scipy.sparse.diags_array([-1.0, -1.0, 4.5, -1.0, -1.0],
    offsets=[-9, -1, 0, 1, 9], shape=(81, 81)).tocsr()
"""

OPERATORS = """
made("Laplacian", lambda: ops.Laplacian((9, 11)))
diffusion = made("Diffusion", lambda: ops.Diffusion(k))
made("Diffusion, singular", lambda: ops.Diffusion(
    k[1:], boundary="neumann", nullspace="constant"))
made("Helmholtz", lambda: ops.Helmholtz(k[:, 1:], 0.5))
flow = made("ConvectionDiffusion", lambda: ops.ConvectionDiffusion(k, v))
made("ConvectionDiffusion, singular", lambda: ops.ConvectionDiffusion(
    np.ones((8, 9)), np.ones(2), boundary="periodic", nullspace="constant"))
mask = made("MaskedPoisson", lambda: ops.MaskedPoisson(cells))
made("MaskedPoisson, singular", lambda: ops.MaskedPoisson(
    np.full((6, 5), 2), nullspace="constant"))
dense = made("Dense", lambda: ops.Dense(S, tags=["positive_definite"]))
made("Dense with null vectors", lambda: ops.Dense(S, nullspace=np.ones((1, 7))))
band = made("Banded", lambda: ops.Banded(np.ones((3, 12)), (-1, 0, 1)))
made("Banded.T", lambda: band.T)
sparse = made("Sparse", lambda: ops.Sparse.from_scipy(
    matrix, tags=["positive_definite"]))
made("Diagonal", lambda: ops.Diagonal(np.ones(13)))
made("Scaled", lambda: 2.0 * diffusion)
made("Sum", lambda: diffusion + ops.Diagonal(np.ones((9, 11))))
made("Kronecker", lambda: ops.Kronecker(dense, dense))
made("Block", lambda: ops.Block([[dense, dense], [None, dense]]))
"""

FACTORIES = """
for name, make in {
    "Jacobi": lambda: solvers.Jacobi()(diffusion),
    "Jacobi of Sparse": lambda: solvers.Jacobi()(sparse),
    "BlockJacobi": lambda: solvers.BlockJacobi(5)(diffusion),
    "SSOR": lambda: solvers.SSOR(1.3)(diffusion),
    "SSOR in colours": lambda: solvers.SSOR(order=solvers.Multicolour())(flow),
    "SSOR of Sparse": lambda: solvers.SSOR()(sparse),
    "IncompleteCholesky": lambda: solvers.IncompleteCholesky()(diffusion),
    "IncompleteLU": lambda: solvers.IncompleteLU()(flow),
    "IncompleteLU of Sparse": lambda: solvers.IncompleteLU()(sparse),
    "Multigrid": lambda: solvers.Multigrid()(diffusion),
    "Multigrid of Laplacian": lambda: solvers.Multigrid()(ops.Laplacian((9, 11))),
    "Multigrid of a mask": lambda: solvers.Multigrid()(mask),
    "Multigrid of a flow": lambda: solvers.Multigrid()(flow),
    "AlgebraicMultigrid": lambda: solvers.AlgebraicMultigrid()(sparse),
    "FastDiagonalization": lambda: solvers.FastDiagonalization()(diffusion),
    "FastDiagonalization of Laplacian": lambda: solvers.FastDiagonalization()(
        ops.Laplacian((9, 12))),
    "Sylvester": lambda: solvers.Sylvester()(diffusion),
    "ChebyshevPolynomial": lambda: solvers.ChebyshevPolynomial(4)(diffusion),
    "Deflation": lambda: solvers.Deflation(rng.standard_normal((2, 9, 11)))(diffusion),
    "Cholesky": lambda: solvers.Cholesky()(dense),
    "LU": lambda: solvers.LU()(dense),
}.items():
    made(name, make)
"""


def counted(*parts: str) -> dict[str, int]:
    code = "\n".join([SETUP, *parts, "print(json.dumps(counts))"])
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_operators_and_factories_compile_at_most_three_programs():
    pytest.importorskip("pyamg")
    counts = counted(OPERATORS, FACTORIES)
    assert len(counts) >= 38
    assert {n: c for n, c in counts.items() if c > MAX_PROGRAMS} == {}


@pytest.mark.slow
def test_count_sees_what_is_compiled():
    # Guards the test above: zeros there must not come from a blind count.
    counts = counted('made("two programs", lambda: (jnp.ones((4, 5)), jnp.sin(1.5)))')
    assert counts["two programs"] >= 2

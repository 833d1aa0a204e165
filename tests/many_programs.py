"""Tests that may compile more programs than others, and why.

Any other test fails where it compiles more than 12, by itself: what fixtures compile
does not count. `KRYLAX_MAX_PROGRAMS=0 make test` looks at none.

Which test of a file compiles what they share depends on their order, so that those
near to the limit are named as well.
"""

OUTSIDE = "what operations do outside of jit is what is tested; each is a program"
PROBES = "the probes of check_operator are drawn outside of jit"
SEVERAL = "compares the solves of several systems, one by one, with those together"
USERS = "does what users type, outside of jit"

ALLOWED: dict[str, str] = {
    "src/krylax": USERS,
    "tests/test_cli.py": USERS,
    "tests/test_train_command.py": USERS,
    "tests/test_bad_arguments.py": USERS,
    "tests/test_notebooks.py": USERS,
    "tests/datasets": "families draw and assemble outside of jit, as `generate` does",
    "tests/operators/grids": OUTSIDE,
    "tests/learned/gaussian_process": "grids and frequencies are chosen outside of jit",
    "tests/learned/conjugate_directions": "networks are drawn outside of jit",
    "tests/learned/neural_operators/test_saved.py": USERS,
    "tests/learned/training": "each training compiles its programs anew",
    "tests/solvers/factorization/test_direct.py": SEVERAL,
    "tests/operators/test_block.py": OUTSIDE,
    "tests/operators/test_jacobian.py": OUTSIDE,
    "tests/operators/test_lineax.py": OUTSIDE,
    "tests/operators/test_materialise.py": OUTSIDE,
    "tests/operators/test_nullspace.py": OUTSIDE,
    "tests/operators/test_operator.py": OUTSIDE,
    "tests/operators/test_scipy.py": OUTSIDE,
    "tests/operators/test_sparse.py": OUTSIDE,
    "tests/operators/test_all_operators.py::test_check_operator_finds_nothing_wrong": (
        PROBES
    ),
    "tests/operators/test_check.py": PROBES,
    "tests/operators/test_inverse.py": PROBES,
    "tests/solvers/core/test_inner_product.py": OUTSIDE,
    "tests/solvers/factorization/test_fast_diagonalization.py": SEVERAL,
    "tests/solvers/krylov/test_cg.py": OUTSIDE,
    "tests/solvers/krylov/test_cg_single_reduction.py": OUTSIDE,
    "tests/solvers/krylov/test_flexible_cg.py": OUTSIDE,
    "tests/solvers/multigrid": "the levels are made outside of jit, each by itself",
    "tests/solvers/relaxation": SEVERAL,
    "tests/solvers/sequences": SEVERAL,
    "tests/solvers/test_lineax.py": "lineax, Optimistix and Diffrax run outside of jit",
    "tests/solvers/test_skr_released.py": SEVERAL,
    "tests/solvers/test_solve.py": OUTSIDE,
    "tests/solvers/test_unroll.py": SEVERAL,
    "tests/solvers/tuning": "a round outside of jit is a program for each operation",
    "tests/solvers/wrappers/test_batched.py": SEVERAL,
}
"""By the part of a test's id before its parameters, or by its file or folder."""


def reason(nodeid: str) -> str | None:
    """Return why a test may compile many programs; None if it may not."""
    name = nodeid.split("[")[0]
    parts = name.replace("::", "/").split("/")
    for end in range(len(parts), 0, -1):
        for key, why in ALLOWED.items():
            if key.replace("::", "/") == "/".join(parts[:end]):
                return why
    return None

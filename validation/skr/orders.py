"""Table 2: what the order of the systems is worth, and how far neighbours are apart.

Distance is measured twice, both times between the eigenvectors of the three eigenvalues
of smallest modulus of consecutive matrices. As the released code has it: the sine of
the smallest angle between any two of them, of which the paper prints the mean. And as
the theory wants it (M. L. Parks et al., SIAM J. Sci. Comput. 28, 2006,
doi:10.1137/040607277, section 2.3): the sine of the largest principal angle between the
two spaces.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import methods
import numpy as np
import scipy.linalg
from jax import lax
from jaxtyping import Complex, Int
from problems import of_family
from rivals.row import Problem, rearranged
from scipy.sparse.linalg import eigs
from tables import mark_missed, number, table

import krylax as kx
from krylax.datasets import Darcy, HelmholtzScattering, SKRReleased
from krylax.solvers import Jacobi
from krylax.solvers.sequences import (
    greedy_order,
    hilbert_order,
    kd_order,
    path_length,
    spanning_tree,
    two_opt,
)

TITLE = "The order of the systems, and what is carried along it"
PAPER = (
    "The paper, Darcy of n = 10⁴ as released, SOR, 1e-8: 202.5 steps and 114 ms by "
    "id, 183.9 and 101 ms sorted, with δ 0.95 and 0.90 between consecutive systems."
)
HEADER = ("order", "length", "steps", "from", "to", "products", "ms per system")
DISTANCE_HEADER = ("order", "δ as printed", "sine of the largest principal angle")
SPANNING_TREE = "spanning tree"
NUM_EIGENVECTORS = 3
RTOL = 1e-8

Order = Callable[[Any], Int[np.ndarray, " systems"]]
ORDERS: dict[str, Order] = {
    "by id": lambda features: np.arange(len(features)),
    "greedy": greedy_order,
    "greedy and 2-opt": lambda features: two_opt(features, greedy_order(features)),
    "Hilbert curve": hilbert_order,
    "k-d tree": kd_order,
}


class Part(NamedTuple):
    """A family, and how many systems of how many seeds are solved."""

    title: str
    family: Any
    fast_family: Any
    num_systems: int = 24
    num_seeds: int = 5
    num_pairs: int = 5


PARTS = {
    "released": Part("As released (not a PDE)", SKRReleased(48), SKRReleased(12)),
    "darcy": Part("Darcy", Darcy((64, 64)), Darcy((12, 12))),
    "helmholtz": Part(
        "Waves in a cavity, k = 12",
        HelmholtzScattering((48, 48)),
        HelmholtzScattering((28, 28)),
    ),
}
FAST_PARTS = ("darcy",)


def measure_part(name: str, folder: Path, *, is_fast: bool) -> dict[str, Any]:
    """Return what every order costs, for each seed, and the distances."""
    del folder
    part = PARTS[name]
    if is_fast:
        part = part._replace(
            family=part.fast_family, num_systems=4, num_seeds=2, num_pairs=1
        )
    rows: list[dict[str, Any]] = []
    problems = [
        of_family(replace(part.family, seed=seed), part.num_systems, RTOL)
        for seed in range(part.num_seeds)
    ]
    for seed, problem in enumerate(problems):
        for label, order in ORDERS.items():
            # One program for all, which the first of them compiles.
            is_compiled = bool(rows)
            found = along(problem, order, is_compiled=is_compiled)
            rows.append({"order": label, "seed": seed} | found)
        found = along_tree(problem, is_compiled=seed > 0)
        rows.append({"order": SPANNING_TREE, "seed": seed} | found)
    distances = {
        label: distance(rearranged(problems[0], order(problems[0].features)), part)
        for label, order in ORDERS.items()
    }
    return {
        "title": part.title,
        "problem": problems[0].name,
        "rows": rows,
        "distances": distances,
    }


def along(problem: Problem, order: Order, *, is_compiled: bool) -> dict[str, Any]:
    """Solve in an order, each system from the space of the one before."""
    features = problem.features
    ids = order(features)
    found = methods.recycled(
        rearranged(problem, ids), Jacobi(), is_compiled=is_compiled
    )
    return found | {"length": path_length(features, ids)}


def along_tree(problem: Problem, *, is_compiled: bool) -> dict[str, Any]:
    """Solve each system from the space of its parent."""
    features = problem.features
    tree = spanning_tree(features)
    ids = tree.order
    # The root takes the last place, which stays empty.
    places = np.argsort(ids)
    parents = np.array([places[p] if p >= 0 else -1 for p in tree.parents[ids]])
    sorted_problem = rearranged(problem, ids)
    solver = methods.gcrodr(problem.rtol)
    systems = (sorted_problem.operator, jnp.asarray(sorted_problem.b))

    def run() -> kx.Solution:
        return _solve_tree(systems, parents, solver)

    steps = features[ids[1:]] - features[tree.parents[ids[1:]]]
    length = float(np.sum(np.linalg.norm(steps, axis=1)))
    found = methods.timed(sorted_problem, run, is_compiled=is_compiled)
    return found | {"length": length}


@eqx.filter_jit
def _solve_tree(systems: Any, parents: Any, solver: kx.solvers.GCRODR) -> kx.Solution:
    A, b = systems
    structure = jax.ShapeDtypeStruct(b.shape[1:], b.dtype)
    count = len(parents)
    empty = solver.initial_carry(structure)
    spaces = jax.tree.map(lambda s: jnp.zeros((count + 1, *s.shape), s.dtype), empty)

    def advance(spaces: Any, entry: Any) -> tuple[Any, kx.Solution]:
        (A, b), parent, place = entry
        carry = jax.tree.map(lambda s: s[parent], spaces)
        found = kx.solve(
            A, b, solver, preconditioner=Jacobi(), carry=carry, throw=False
        )
        spaces = jax.tree.map(lambda s, new: s.at[place].set(new), spaces, found.carry)
        return spaces, eqx.tree_at(lambda s: s.carry, found, None)

    entries = (A, b), jnp.asarray(parents), jnp.arange(count)
    return lax.scan(advance, spaces, entries)[1]


def distance(problem: Problem, part: Part) -> list[list[float]]:
    """Return both distances of the first pairs of neighbours."""
    spaces = [
        lowest_eigenvectors(matrix) for matrix in problem.matrices[: part.num_pairs + 1]
    ]
    return [[as_printed(V, W), largest_sine(V, W)] for V, W in pairwise(spaces)]


def lowest_eigenvectors(matrix: Any) -> Complex[np.ndarray, "n k"]:
    """Unit eigenvectors of the eigenvalues of smallest modulus."""
    start = np.random.default_rng(0).standard_normal(matrix.shape[0])
    found: Any = eigs(matrix.tocsc(), k=NUM_EIGENVECTORS, sigma=0, v0=start)
    vectors = found[1]
    return vectors / np.linalg.norm(vectors, axis=0)


def as_printed(V: Any, W: Any) -> float:
    """Sine of the smallest angle between two vectors, a vector and its negative apart.

    The signs are those that the eigensolver happens to choose.
    """
    cosine = np.max(np.real(V.conj().T @ W))
    return float(np.sin(np.arccos(np.clip(cosine, -1, 1))))


def largest_sine(V: Any, W: Any) -> float:
    """Sine of the largest principal angle between the spaces, ‖(I - P_V) P_W‖₂."""
    V, W = scipy.linalg.orth(V), scipy.linalg.orth(W)
    return float(np.linalg.norm(W - V @ (V.conj().T @ W), 2))


def markdown(found: dict[str, Any]) -> str:
    """Return two tables per family."""
    sections = [PAPER]
    for part in found.values():
        labels = [*ORDERS, SPANNING_TREE]
        line = partial(_line, part["rows"])
        distances = [
            [label, *[number(float(x)) for x in np.mean(pairs, axis=0)]]
            for label, pairs in part["distances"].items()
        ]
        seeds = len({row["seed"] for row in part["rows"]})
        about = f"1e-8, GCRO-DR(40,20) + Jacobi, means of {seeds} seeds"
        sections += [
            f"{part['title']}: {part['problem']}, {about}",
            table(HEADER, map(line, labels)),
            table(DISTANCE_HEADER, distances),
        ]
    return "\n\n".join(sections)


def _line(rows: list[dict[str, Any]], label: str) -> list[str]:
    of_label = [row for row in rows if row["order"] == label]
    by_id = [row for row in rows if row["order"] == "by id"]
    keys = ("steps", "matvecs", "milliseconds")
    means = {key: float(np.mean([row[key] for row in of_label])) for key in keys}
    means["missed"] = sum(row["missed"] for row in of_label)
    lengths = [
        row["length"] / reference["length"]
        for row, reference in zip(of_label, by_id, strict=True)
    ]
    steps = [row["steps"] for row in of_label]
    cells = [label, number(float(np.mean(lengths))), mark_missed(means, "steps")]
    cells += [number(min(steps)), number(max(steps))]
    return cells + [mark_missed(means, key) for key in keys[1:]]

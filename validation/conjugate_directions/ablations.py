"""What each choice of the method and of its training is worth, on small networks.

"from64" in 2-D, 600 steps of batch 8 on `Rooms` of 32², and the steps of flexible CG
to 1e-8 on rooms that no training has seen, of 1, 2 and 4 times the size; one choice is
changed in each row. The seeds say how far rows differ by chance.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import paper_recipe
from jaxtyping import Array, Float, Int, Key
from rooms import Rooms
from tables import table
from typing_extensions import override

import krylax as kx
from krylax.datasets.families._family import stacked_samples
from krylax.learned import conjugate_directions as cd
from krylax.learned import training
from krylax.learned.conjugate_directions._errors import solved_errors, spectral_error
from krylax.operators import AbstractOperator

TITLE = "Ablations"
RTOL = 1e-8
MAX_STEPS = 400
"""Of a network, beyond which a solve has failed; CG may take ten times as many."""


class Sizes(NamedTuple):
    """How much is trained and tested."""

    num_points: int
    num_steps: int
    batch_size: int
    num_systems: int
    num_tested: tuple[int, ...]
    """Systems of 1, 2, 4, ... times the number of points."""


FULL = Sizes(32, 600, 8, 64, (30, 10, 10))
FAST = Sizes(8, 4, 2, 2, (2, 1))


class Odd(AbstractOperator):
    """(f(r) - f(-r)) / 2."""

    network: AbstractOperator

    @property
    @override
    def in_structure(self) -> None:
        return None

    @override
    def __call__(self, x: Any) -> Any:
        return (self.network(x) - self.network(-x)) / 2


class Unbiased(AbstractOperator):
    """The network with biases that are zero and stay so."""

    network: cd.DeepConjugateDirection

    @property
    @override
    def in_structure(self) -> None:
        return None

    @override
    def __call__(self, x: Any) -> Any:
        def biases(net: Any) -> list[Any]:
            *lists, head = net.fine_before, net.coarse, net.fine_after, net.head
            layers = [net.stem, *[layer for some in lists for layer in some], head]
            return [layer.bias for layer in layers]

        return eqx.tree_at(biases, self.network, replace_fn=jnp.zeros_like)(x)


class Training(NamedTuple):
    """How the weights of a row are made."""

    data: Literal["own solves", "pairs", "shuffled pairs", "ritz", "none"] = (
        "own solves"
    )
    normalization: Literal["norm", "rms", "none"] = "norm"
    is_unbiased: bool = False
    seed: int = 0
    more: dict[str, Any] = {}  # noqa: RUF012  # of the training's function


TRAININGS = {
    "baseline": Training(),
    "seed-1": Training(seed=1),
    "seed-2": Training(seed=2),
    "untrained": Training("none"),
    "shuffled": Training("shuffled pairs"),
    "pairs": Training("pairs"),
    "rms": Training(normalization="rms"),
    "none": Training(normalization="none"),
    "unbiased": Training(is_unbiased=True),
    "residual": Training(more={"loss": "residual"}),
    "ritz-published": Training("ritz", more=paper_recipe.PUBLISHED),
    "ritz": Training("ritz"),
    "worst": Training(more={"reduction": "worst"}),
    "unrolled-3": Training(more={"num_unrolled": 3}),
}


def half_precision(net: Any) -> Any:
    """The weights rounded to float16."""
    return jax.tree.map(lambda w: w.astype(jnp.float16).astype(w.dtype), net)


class Row(NamedTuple):
    """A way of solving."""

    label: str
    weights: str = "baseline"
    truncation: int = 2
    preconditioner: Callable[[Any], Any] = cd.Masked


ROWS = {
    "baseline": Row("baseline: contraction, norm, truncation 2"),
    "seed-1": Row("the same, another seed", "seed-1"),
    "seed-2": Row("the same, a third seed", "seed-2"),
    "truncation-0": Row("truncation 0", truncation=0),
    "truncation-1": Row("truncation 1", truncation=1),
    "truncation-10": Row("truncation 10", truncation=10),
    "odd": Row("odd part", preconditioner=lambda net: cd.Masked(Odd(net))),
    "float16": Row(
        "weights in float16", preconditioner=lambda net: cd.Masked(half_precision(net))
    ),
    "safeguarded": Row("beside CG", preconditioner=cd.Safeguarded),
    "unmasked": Row("control: unmasked", preconditioner=lambda net: net),
    "untrained": Row("control: untrained", "untrained"),
    "residual": Row("residual loss", "residual"),
    "ritz-published": Row("Ritz residuals, published rate and batch", "ritz-published"),
    "ritz": Row("Ritz residuals, rate and batch of the baseline", "ritz"),
    "unbiased": Row("biases zero", "unbiased"),
    "rms": Row("normalization rms", "rms"),
    "none": Row("normalization none", "none"),
    "shuffled": Row("control: shuffled pairs of errors and residuals", "shuffled"),
    "pairs": Row("the same pairs in order, without its own solves", "pairs"),
    "worst": Row("worst of the batch", "worst"),
    "unrolled-3": Row("3 steps unrolled", "unrolled-3"),
}
PARTS = ("cg", *ROWS)
FAST_PARTS = ("cg", "baseline", "shuffled", "ritz")


def measure_part(name: str, folder: Path, *, is_fast: bool) -> dict[str, Any]:
    """Return the steps of a row, for each size of the test."""
    sizes = FAST if is_fast else FULL
    if name == "cg":
        solver = kx.solvers.CG(rtol=RTOL, max_steps=10 * MAX_STEPS)
        return {"tests": tested(solver, None, sizes)}
    row = ROWS[name]
    net = trained(row.weights, folder, sizes)
    solver = kx.solvers.FlexibleCG(
        rtol=RTOL, truncation=row.truncation, max_steps=MAX_STEPS
    )
    return {"tests": tested(solver, row.preconditioner(net), sizes)}


def tested(solver: Any, M: Any, sizes: Sizes) -> list[dict[str, Any]]:
    """Return the steps for unseen rooms of each size, with the status of the solves."""

    @eqx.filter_jit
    def solved(family: Any, parameters: Any, M: Any) -> Any:
        A, b = family.system(parameters)
        sol = kx.solve(A, b, solver, preconditioner=M, throw=False)
        return sol.stats.num_steps, sol.status

    found = []
    for doublings, count in enumerate(sizes.num_tested):
        family = Rooms((sizes.num_points * 2**doublings,) * 2, stream="test")
        pairs = [solved(family, family.sample(i), M) for i in range(count)]
        steps, statuses = zip(*pairs, strict=True)
        found.append(
            {
                "num_points": family.num_points[0],
                "steps": [int(n) for n in steps],
                "statuses": [kx.Status(int(status)).name for status in statuses],
            }
        )
    return found


def trained(name: str, folder: Path, sizes: Sizes) -> Any:
    """Return a network from the folder, or train it and leave it there."""
    how = TRAININGS[name]
    net = cd.DeepConjugateDirection(
        "from64", 2, key=jax.random.key(how.seed), normalization=how.normalization
    )
    wrapped = Unbiased(net) if how.is_unbiased else net
    if how.data == "none":
        return wrapped
    path = folder / f"{name}.weights"
    if not path.exists():
        settings = {
            "num_steps": sizes.num_steps,
            "batch_size": sizes.batch_size,
            "learning_rate": 2e-3,
            "validate_every": max(1, sizes.num_steps // 3),
            "seed": how.seed,
            "checkpoint": folder / f"{name}.state",
            "progress": False,
        }
        found = run_training(how, wrapped, settings, sizes).model
        # Renamed when complete, as parts may be measured at the same time.
        draft = path.with_suffix(f".{os.getpid()}")
        eqx.tree_serialise_leaves(draft, found)
        draft.rename(path)
    return eqx.tree_deserialise_leaves(path, wrapped)


def run_training(
    how: Training, net: Any, settings: dict[str, Any], sizes: Sizes
) -> training.Result:
    """Train a network, or go on with what its state holds."""
    num_points = (sizes.num_points,) * 2
    if how.data == "ritz":
        return paper_recipe.train(
            net,
            num_points,
            num_vectors=sizes.num_points**2 // 2,
            num_residuals=sizes.num_steps * sizes.batch_size,
            **(settings | how.more),
        )
    family = Rooms(num_points)
    if how.data == "own solves":
        return cd.train(
            net,
            family,
            training.Settings(**settings),
            num_systems=sizes.num_systems,
            **how.more,
        )
    loss = Pairs.of(family, sizes, is_shuffled=how.data == "shuffled pairs")
    # The last model: what training makes small says nothing of a control.
    settings["validate_every"] = sizes.num_steps
    return training.fit(
        net,
        loss,
        training.Settings(**settings),
        configuration={"is_shuffled": loss.is_shuffled},
    )


class Pairs(eqx.Module):
    """The contraction for errors that no solve goes on from, and for those of others.

    Where they are shuffled, the direction for r = A e is judged by another error e' of
    the same system: nothing in r says where e' lies.
    """

    parameters: Any
    errors: Float[Array, "systems kinds nx ny"]
    batch_size: int = eqx.field(static=True)
    is_shuffled: bool = eqx.field(static=True)
    family: Rooms = eqx.field(static=True)

    @classmethod
    def of(cls, family: Rooms, sizes: Sizes, *, is_shuffled: bool) -> "Pairs":
        """Draw them, three solutions and nine random fields per system."""
        stacked = stacked_samples(family, range(sizes.num_systems))
        parameters = jax.tree.map(jnp.asarray, stacked)

        @jax.jit
        def drawn(parameters: Any, key: Key[Array, ""]) -> Any:
            A, b = family.system(parameters)
            for_solved, *for_fields = jax.random.split(key, 10)
            solved = solved_errors(A, b, kx.solvers.CG(rtol=RTOL), for_solved)
            fields = [spectral_error(k, b.shape, b.dtype) for k in for_fields]
            errors = jnp.where(A.is_fluid, jnp.stack([*solved, *fields]), 0)
            sizes = jnp.max(jnp.abs(errors), (1, 2), keepdims=True)
            return errors / jnp.where(sizes > 0, sizes, 1)

        keys = jax.random.split(jax.random.key(7), sizes.num_systems)
        rows = [
            drawn(jax.tree.map(lambda a, i=i: a[i], parameters), keys[i])
            for i in range(sizes.num_systems)
        ]
        return cls(parameters, jnp.stack(rows), sizes.batch_size, is_shuffled, family)

    def __call__(
        self, net: Any, data: None, key: Key[Array, ""]
    ) -> tuple[Float[Array, ""], None]:
        """Return the mean logarithm of what a step leaves."""
        for_system, for_kinds = jax.random.split(key)
        num_systems, num_kinds = self.errors.shape[:2]
        systems = jax.random.randint(for_system, (self.batch_size,), 0, num_systems)

        def one(i: Int[Array, ""], key: Key[Array, ""]) -> Float[Array, ""]:
            parameters = jax.tree.map(lambda a: a[i], self.parameters)
            A, _ = self.family.system(parameters)
            own, other = jax.random.permutation(key, num_kinds)[:2]
            r = A.mv(self.errors[i, own])
            z = cd.Masked(net)(A)(r)
            judged = self.errors[i, other if self.is_shuffled else own]
            return jnp.log(cd.contraction_loss(lambda _: z, A, judged) + 1e-12)

        keys = jax.random.split(for_kinds, self.batch_size)
        return jnp.mean(jax.vmap(one)(systems, keys)), data


def markdown(found: dict[str, Any]) -> str:
    """Return the steps of all rows: median, 95 % quantile, and how many failed."""
    some = next(iter(found.values()))
    header = ["steps: median, 95 %, failed"]
    for test in some["tests"]:
        header.append(f"{test['num_points']}² ({len(test['steps'])} systems)")
    labels = {"cg": "CG"} | {name: row.label for name, row in ROWS.items()}
    lines = [
        [labels[name], *[summary(test) for test in part["tests"]]]
        for name, part in found.items()
    ]
    return table(header, lines)


def summary(test: dict[str, Any]) -> str:
    """Median and 95 % quantile, of which a failed solve is above, and the failures."""
    has_failed = np.asarray(test["statuses"]) != "converged"
    steps = np.sort(np.where(has_failed, np.inf, test["steps"]))
    at = [steps[int(np.ceil(q * len(steps))) - 1] for q in (0.5, 0.95)]
    median, high = (f"{n:.0f}" if np.isfinite(n) else "–" for n in at)
    return f"{median}, {high}, {int(np.sum(has_failed))}"

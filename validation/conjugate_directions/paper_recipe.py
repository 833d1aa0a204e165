"""Train the network by the published recipe.

The empty box and its one matrix, residuals from Ritz vectors, the published loss, Adam
with a constant rate and batches of 10. What was published is

    --num-points 64 64 64 --num-vectors 10000 --num-residuals 20000 --num-steps 2000000

(1000 passes over the residuals), whose Lanczos vectors take 21 GB; the sizes without
arguments are for a look at whether it works. `--out` holds the state of the training,
which goes on where it was stopped, and at the end the network.
"""

import argparse
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

jax.config.update("jax_enable_x64", True)

import krylax as kx
from krylax.learned import conjugate_directions as cd
from krylax.learned import training
from krylax.operators import AbstractLinearOperator

PUBLISHED: dict[str, Any] = {
    "learning_rate": 1e-4,
    "schedule": "constant",
    "batch_size": 10,
    "max_norm": 1e30,  # gradients were not clipped
}


class RitzLoss(eqx.Module):
    """The mean of the published loss over residuals that are drawn anew."""

    A: AbstractLinearOperator
    residuals: Float[Array, "residuals ..."]
    batch_size: int = eqx.field(static=True)

    def __call__(
        self, net: Any, data: None, key: Key[Array, ""]
    ) -> tuple[Float[Array, ""], None]:
        """Return the loss of a batch."""
        count = len(self.residuals)
        places = jax.random.randint(key, (self.batch_size,), 0, count)
        losses = jax.vmap(lambda r: cd.residual_loss(net, self.A, r))(
            self.residuals[places]
        )
        return jnp.mean(losses), data


def empty_box(num_points: tuple[int, ...]) -> AbstractLinearOperator:
    """The matrix of `Rooms` without obstacles: the last axis is open at its end."""
    boundary: Any = ["neumann"] * len(num_points)
    boundary[-1] = ("neumann", "dirichlet")
    spacing = tuple(1 / n for n in num_points)
    fluid = jnp.full(num_points, 2, jnp.int32)
    return kx.operators.MaskedPoisson(fluid, spacing, boundary=boundary)


def train(
    net: Any,
    num_points: tuple[int, ...],
    *,
    num_vectors: int,
    num_residuals: int,
    **settings: Any,
) -> training.Result:
    """Train a network on Ritz residuals of the empty box."""
    A = empty_box(num_points)
    residuals = jax.jit(cd.ritz_residuals, static_argnums=(1, 2))(
        A, num_vectors, num_residuals, key=jax.random.key(1)
    )
    chosen = training.Settings(**settings)
    return training.fit(
        net,
        RitzLoss(A, residuals, chosen.batch_size),
        chosen,
        configuration={
            "num_points": list(num_points),
            "num_vectors": num_vectors,
            "num_residuals": num_residuals,
        },
    )


def main() -> None:
    """Train what is asked for, and write the network."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--architecture", default="from64", help="or from128")
    parser.add_argument("--num-points", type=int, nargs="+", default=[16, 16])
    parser.add_argument("--num-vectors", type=int, default=100)
    parser.add_argument("--num-residuals", type=int, default=200)
    parser.add_argument("--num-steps", type=int, default=20)
    parser.add_argument("--validate-every", type=int, help="all steps unless given")
    parser.add_argument("--learning-rate", type=float, default=1e-4)
    parser.add_argument("--batch-size", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("build/conjugate_directions"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    net = cd.DeepConjugateDirection(
        given.architecture, len(given.num_points), key=jax.random.key(given.seed)
    )
    name = "-".join(["paper", given.architecture, *map(str, given.num_points)])
    own = {
        "num_steps": given.num_steps,
        "validate_every": given.validate_every or given.num_steps,
        "learning_rate": given.learning_rate,
        "batch_size": given.batch_size,
        "seed": given.seed,
        "checkpoint": given.out / f"{name}.state",
    }
    result = train(
        net,
        tuple(given.num_points),
        num_vectors=given.num_vectors,
        num_residuals=given.num_residuals,
        **(PUBLISHED | own),
    )
    cd.save(given.out / f"{name}.safetensors", result.model)
    for step, loss in zip(
        result.history["validated"], result.history["validation"], strict=True
    ):
        print(f"after {step} steps: mean loss {loss:.4f}")


if __name__ == "__main__":
    main()

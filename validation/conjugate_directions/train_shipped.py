"""Train the shipped networks, all or those that are named.

Each is trained on `Rooms` on 2 CPU cores, in float32 with systems in float64, and goes
on where it was stopped. What is shipped are its weights in half precision.
"""

import argparse
from pathlib import Path
from typing import Any, NamedTuple

import jax

jax.config.update("jax_enable_x64", True)

from rooms import Rooms

from krylax.learned import conjugate_directions as cd
from krylax.learned import training

WEIGHTS = Path(__file__).parents[2] / "learned/conjugate_directions/weights"


class Recipe(NamedTuple):
    """What a network is made of."""

    num_points: tuple[int, ...]
    num_steps: int
    batch_size: int
    num_systems: int
    num_validation: int
    validate_every: int
    architecture: Any = "from64"


RECIPES = {
    "from64-2d": Recipe((64, 64), 4000, 16, 128, 4, 500),
    "from64-3d": Recipe((32, 32, 32), 1600, 4, 128, 1, 400),
}


def train(
    recipe: Recipe, checkpoint: Path, settings: dict[str, Any]
) -> training.Result:
    """Train a network, or go on with what the checkpoint holds."""
    net = cd.DeepConjugateDirection(
        recipe.architecture, len(recipe.num_points), key=jax.random.key(0)
    )
    defaults = {
        "num_steps": recipe.num_steps,
        "batch_size": recipe.batch_size,
        "learning_rate": 2e-3,
        "validate_every": recipe.validate_every,
        "checkpoint": checkpoint,
    }
    return cd.train(
        net,
        Rooms(recipe.num_points),
        training.Settings(**(defaults | settings)),
        num_systems=recipe.num_systems,
        num_validation=recipe.num_validation,
    )


def main() -> None:
    """Train what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", default=list(RECIPES))
    parser.add_argument("--out", type=Path, default=Path("build/conjugate_directions"))
    parser.add_argument(
        "--ship", action="store_true", help="write the weights into the package"
    )
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name in arguments.names:
        result = train(RECIPES[name], arguments.out / f"{name}.state", {})
        print(name, result.history["validation"], result.history["seconds"])
        folder = WEIGHTS if arguments.ship else arguments.out
        cd.save(folder / f"{name}.safetensors", result.model, dtype="float16")


if __name__ == "__main__":
    main()

"""Networks trained on 64³ and on 128³ cells, each on 64³, 128³ and 256³ cells.

The cross table of the paper, for a GPU: training and iterations in float32, and
`Refinement` to a true relative residual of 1e-8 in float64. It has not been run in full
yet; on a CPU, `--fast` runs it in small sizes.

    python validation/conjugate_directions/cross_table.py [--fast] [--num-steps N]
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import jax

jax.config.update("jax_enable_x64", True)

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parents[1] / "benchmarks"), str(HERE.parent)]

import scenes
from tables import table
from train_shipped import Recipe, train

import krylax as kx
from krylax.learned import conjugate_directions as cd

RTOL = 1e-8
INNER_RTOL = 1e-4
MAX_STEPS = 1000
NUM_SYSTEMS = 3

# 0.6 and 0.9 Pflop by the multiplications of the layers: 2 to 3 minutes at 5 Tflop/s.
RECIPES = {
    "from64": Recipe((64,) * 3, 1600, 4, 64, 1, 400, "from64"),
    "from128": Recipe((128,) * 3, 400, 2, 16, 1, 100, "from128"),
}
SIZES = (64, 128, 256)


def row(name: str, M: Any, size: int, count: int) -> dict[str, Any]:
    """Steps, refinements and seconds on frames of a plume."""
    inner = kx.solvers.CG(INNER_RTOL, max_steps=MAX_STEPS)
    if M is not None:
        inner = kx.solvers.FlexibleCG(INNER_RTOL, truncation=2, max_steps=MAX_STEPS)
    solver = kx.solvers.Refinement(inner, RTOL)
    problems = scenes.systems(scenes.family("plume", (size,) * 3), count)
    found: dict[str, Any] = {"name": name, "size": size, "products": [], "seconds": []}
    found["statuses"] = []
    method = scenes.Method(name, lambda *_: solver, lambda A: M and M(A))
    scenes.timed(method, solver, *problems[0])
    for A, b in problems:
        sol, _, seconds = scenes.timed(method, solver, A, b)
        found["products"].append(int(sol.stats.num_matvecs))
        found["seconds"].append(seconds)
        found["statuses"].append(kx.Status(int(sol.status)).name)
    return found


def main() -> None:
    """Train the networks that are not there, and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--fast", action="store_true", help="8³ and 16³ cells")
    parser.add_argument("--num-steps", type=int, help="of each training")
    parser.add_argument("--out", type=Path, default=Path("build/conjugate_directions"))
    given = parser.parse_args()
    if jax.default_backend() == "cpu" and not given.fast:
        parser.error("this table is for a GPU, and JAX sees none; --fast runs anywhere")
    given.out.mkdir(parents=True, exist_ok=True)
    sizes, recipes = SIZES, RECIPES
    if given.fast:
        sizes = (8, 16)
        recipes = {
            name: recipe._replace(
                num_points=(8,) * 3, num_steps=4, num_systems=2, validate_every=2
            )
            for name, recipe in RECIPES.items()
        }
    nets: dict[str, Any] = {"CG": None}
    for name, recipe in recipes.items():
        settings = {} if given.num_steps is None else {"num_steps": given.num_steps}
        side = "-".join(map(str, recipe.num_points))
        result = train(recipe, given.out / f"cross-{name}-{side}.state", settings)
        nets[f"{name}, trained on {recipe.num_points[0]}³"] = cd.Masked(result.model)
        print(name, result.history["seconds"][-1], "s", flush=True)
    rows = []
    for size in sizes:
        for name, M in nets.items():
            rows.append(row(name, M, size, 1 if given.fast else NUM_SYSTEMS))
            print(rows[-1], flush=True)
    header = ["", *[f"{size}³: products, s" for size in sizes]]
    lines = []
    for name in nets:
        own = [found for found in rows if found["name"] == name]
        lines.append([name, *map(_cell, own)])
    text = table(header, lines)
    (given.out / "cross_table.json").write_text(json.dumps(rows, indent=1))
    (given.out / "cross_table.md").write_text(text + "\n")
    print(text)


def _cell(found: dict[str, Any]) -> str:
    """The median, or that a solve has not ended."""
    if set(found["statuses"]) != {"converged"}:
        return ", ".join(sorted(set(found["statuses"])))
    middle = len(found["products"]) // 2
    products, seconds = sorted(found["products"]), sorted(found["seconds"])
    return f"{products[middle]}, {seconds[middle]:.2g}"


if __name__ == "__main__":
    main()

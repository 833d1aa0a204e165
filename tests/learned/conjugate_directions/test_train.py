"""Training of a direction: that it helps, and what it refuses."""

from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx
from krylax.datasets import ConvectionDiffusion, Poisson, Porous
from krylax.learned import conjugate_directions as cd
from krylax.learned.training import Settings

KEY = jax.random.key(0)
FAMILY = Porous(num_points=(8, 8), width=1 / 8, solid=0.2)
SETTINGS: dict[str, Any] = {"batch_size": 4, "progress": False}


def trained(net: Any, family: Any, num_steps: int = 2, **arguments: Any) -> Any:
    settings = {**SETTINGS, "num_steps": num_steps, "validate_every": num_steps}
    settings |= arguments.pop("settings", {})
    sizes = {"num_systems": 2, "num_validation": 1, **arguments}
    return cd.train(net, family, Settings(**settings), **sizes)


@pytest.fixture(scope="module")
def net() -> cd.DeepConjugateDirection:
    return cd.DeepConjugateDirection("from64", 2, key=KEY)


def test_training_makes_the_steps_of_a_solve_fewer(net: Any):
    result = trained(net, FAMILY, 60, num_systems=8, settings={"learning_rate": 3e-3})
    losses = result.history["loss"]
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.5
    A, b = FAMILY.system(FAMILY.sample(100))
    solver = kx.solvers.FlexibleCG(1e-6, truncation=2, max_steps=300)

    @jax.jit
    def steps(net: Any) -> Any:
        sol = kx.solve(A, b, solver, preconditioner=cd.Masked(net), throw=False)
        return sol.stats.num_steps

    assert int(steps(result.model)) < 0.6 * int(steps(net))


def test_training_goes_on_to_the_same_bits(net: Any, tmp_path: Path):
    """A state of half the way, as a process leaves it that is killed there."""
    state = tmp_path / "state"
    every = {"validate_every": 2, "checkpoint": state}
    whole = trained(net, FAMILY, 4, settings={"validate_every": 2})
    calls = []
    import krylax.learned.conjugate_directions._train as module

    original = module._Validation.__call__

    def dying(self: Any, net: Any) -> float:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(self, net)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module._Validation, "__call__", dying)
        with pytest.raises(KeyboardInterrupt):
            trained(net, FAMILY, 4, settings=every)
    again = trained(net, FAMILY, 4, settings=every)
    assert np.array_equal(whole.history["loss"], again.history["loss"])
    pairs = zip(jax.tree.leaves(whole.model), jax.tree.leaves(again.model), strict=True)
    assert all(np.array_equal(a, b) for a, b in pairs)


@pytest.mark.parametrize(
    "arguments",
    [
        {"loss": "residual"},
        {"reduction": "worst", "num_unrolled": 2},
        {"validation": FAMILY},
    ],
    ids=str,
)
def test_losses_are_finite(net: Any, arguments: Any):
    result = trained(net, FAMILY, **arguments)
    assert np.all(np.isfinite(result.history["loss"]))


class Smoother(eqx.Module):
    """A module of one number and a function, on fields of any rank."""

    weight: Any
    activation: Any = jnp.asarray

    def __call__(self, x: Any) -> Any:
        near = sum(jnp.roll(x, s, a) for a in range(x.ndim) for s in (-1, 1))
        return x + self.activation(self.weight.astype(x.dtype) * near)


@pytest.mark.parametrize("loss", ["contraction", "residual"])
def test_any_module_and_any_definite_family_can_be_trained(loss: str):
    net = cd.from_callable(Smoother(jnp.zeros(())))
    result = trained(net, Poisson(num_points=(8, 8)), 20, loss=loss)
    assert float(result.model.function.weight) != 0
    assert result.history["validation"].shape == (1,)


def test_losses_agree_with_their_formulas(net: Any):
    A, _ = FAMILY.system(FAMILY.sample(0))
    e = jnp.where(A.is_fluid, np.random.default_rng(0).standard_normal((8, 8)), 0)

    @jax.jit
    def values(e: Any) -> Any:
        f = cd.Masked(net)(A)
        r = A.mv(e)
        z = f(r)
        alpha = jnp.vdot(z, r) / jnp.vdot(z, A.mv(z))
        left, after = r - alpha * A.mv(z), e - alpha * z
        found = (
            cd.residual_loss(f, A, r),
            cd.contraction_loss(f, A, e),
            cd.unrolled_loss(f, A, e, 1),
        )
        contraction = jnp.vdot(after, A.mv(after)) / jnp.vdot(e, r)
        expected = (jnp.vdot(left, left) / jnp.vdot(r, r), contraction, contraction)
        return found, expected

    found, expected = values(e)
    assert np.allclose(found, expected, rtol=1e-10)


def test_loss_of_a_map_that_gains_nothing_is_one():
    A, _ = FAMILY.system(FAMILY.sample(0))

    @jax.jit
    def values(e: Any) -> Any:
        losses = cd.contraction_loss, cd.residual_loss
        return [loss(jnp.zeros_like, A, e) for loss in losses]

    assert values(np.ones((8, 8))) == [1, 1]


@pytest.mark.parametrize(
    ("family", "arguments", "message"),
    [
        (ConvectionDiffusion(num_points=(8, 8)), {}, "definite systems, got a Conv"),
        (FAMILY, {"loss": "norm"}, "loss must be one of contraction, residual"),
        (FAMILY, {"reduction": "sum"}, "reduction must be one of mean, worst"),
        (FAMILY, {"horizon": 0}, "horizon must be at least 1"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    net: Any, family: Any, arguments: Any, message: str
):
    with pytest.raises(ValueError, match=message):
        trained(net, family, **arguments)

"""Networks as preconditioners of data sets: recorded, taken up again, refused."""

from pathlib import Path
from typing import Any

import jax
import pytest

from krylax.datasets import Porous, generate, open_dataset, plan
from krylax.datasets.generation._solve_method import (
    SolveMethod,
    method_from_configuration,
)
from krylax.learned import conjugate_directions as cd
from krylax.learned.conjugate_directions._weights import fingerprint
from krylax.solvers import FGMRES, FlexibleCG

FAMILY = Porous(num_points=(8, 8), width=1 / 8)
SOLVER = FlexibleCG(1e-8, truncation=2)


@pytest.fixture(scope="module")
def shipped() -> cd.DeepConjugateDirection:
    return cd.load("from64-2d")


@pytest.fixture(scope="module")
def own() -> cd.DeepConjugateDirection:
    return cd.DeepConjugateDirection("from64", 2, key=jax.random.key(0))


def test_a_shipped_network_is_recorded_by_name_and_sum(shipped: Any):
    method = SolveMethod(SOLVER, cd.Masked(shipped))
    stored = method.record()
    assert stored["preconditioner"]["operator"] == {
        "type": "DeepConjugateDirection",
        "name": "from64-2d",
        "sha256": fingerprint(shipped),
    }
    found = method_from_configuration(stored)
    assert type(found.preconditioner) is cd.Masked
    assert fingerprint(found.preconditioner.operator) == fingerprint(shipped)


def test_other_weights_of_a_name_are_refused(shipped: Any):
    stored = SolveMethod(SOLVER, cd.Safeguarded(shipped)).record()
    stored["preconditioner"]["operator"]["sha256"] = "0" * 64
    with pytest.raises(ValueError, match=r"'from64-2d' has the weights .* made with 0"):
        method_from_configuration(stored)


def test_a_network_that_is_not_shipped_has_to_be_given_again(own: Any):
    stored = SolveMethod(SOLVER, cd.Masked(own)).record()
    assert stored["preconditioner"]["operator"]["name"] is None
    with pytest.raises(ValueError, match="none that krylax ships; give it as the prec"):
        method_from_configuration(stored)


def test_a_data_set_goes_on_with_its_network_and_no_other(
    shipped: Any, own: Any, tmp_path: Path
):
    arguments: dict[str, Any] = {"solver": SOLVER, "progress": False}
    place = tmp_path / "porous"
    generate(FAMILY, 4, place, preconditioner=cd.Masked(shipped), **arguments)
    again = generate(FAMILY, 4, place, preconditioner=cd.Masked(shipped), **arguments)
    assert len(open_dataset(place)) == len(again) == 4
    with pytest.raises((ValueError, FileExistsError), match="sha256"):
        generate(FAMILY, 4, place, preconditioner=cd.Masked(own), **arguments)


def test_plans_take_flexible_methods_for_networks(shipped: Any):
    found = plan(FAMILY, preconditioner=cd.Safeguarded(shipped))
    assert {type(trial.work.solver) for trial in found.trials} <= {FlexibleCG, FGMRES}
    assert all(trial.num_certified == 16 for trial in found.trials)

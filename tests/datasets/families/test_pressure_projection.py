"""The pressure systems of flows: what a frame does, and that samples are frames."""

from functools import lru_cache
from typing import Any, get_args

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import label

import krylax as kx
from krylax.datasets import FlowState, PressureProjection
from krylax.datasets.families import _mac_flow as mac
from krylax.datasets.families._flow_scenes import Scene
from krylax.datasets.store._record import family_from_record, record

SCENES = get_args(Scene)
SOLID, FLUID, AIR = 1, 2, 3
RTOL = 1e-10
NUM_FRAMES = 12
# Every scene, both tops, and three axes.
CASES: dict[str, PressureProjection] = {
    **{
        f"{scene}-{top}": PressureProjection((16, 12), scene, top=top, width=1 / 8)
        for scene, top in zip(SCENES, ("open", "closed") * 3, strict=True)
    },
    "closed": PressureProjection((12, 16), "moving_disc", top="closed"),
    "3-D": PressureProjection((8, 8, 10), "rotating", top="closed"),
    "3-D liquid": PressureProjection((8, 7, 8), "free_surface"),
}
each_case = pytest.mark.parametrize("name", CASES)


def pressure(A: Any, b: Any) -> Any:
    return kx.solve(A, b, kx.solvers.CG(rtol=RTOL)).value


@lru_cache(maxsize=len(CASES))
def flow(name: str) -> tuple[FlowState, dict[str, np.ndarray]]:
    """The states after each frame and the parameters of each, by a program of ours."""
    family = CASES[name]

    def step(state: FlowState, _: None) -> Any:
        after, parameters = family.advance(state, pressure)
        return after, (after, parameters)

    @jax.jit
    def run(state: FlowState) -> Any:
        return jax.lax.scan(step, state, length=NUM_FRAMES)[1]

    return jax.tree.map(np.asarray, run(family.initial_state(1)))


@each_case
def test_no_divergence_is_left_in_the_fluid(name: str):
    states, parameters = flow(name)
    axes = list(zip(states.velocity, CASES[name].num_points, strict=True))
    for frame in range(NUM_FRAMES):
        fluxes = [np.diff(u[frame], axis=a) * n for a, (u, n) in enumerate(axes)]
        left = np.sum(fluxes, axis=0)[states.cells[frame] == FLUID]
        b = parameters["right_hand_side"][frame]
        assert np.any(b)
        assert np.linalg.norm(left) <= 2 * RTOL * np.linalg.norm(b)


@each_case
def test_the_flow_through_solids_and_walls_is_theirs(name: str):
    family, (states, _) = CASES[name], flow(name)
    n, frame = family.num_points, NUM_FRAMES - 1
    pivot, turning = states.setting.pivot[frame], states.setting.turning[frame]
    last = len(n) - 1
    for axis, u in enumerate(states.velocity):
        for face in np.ndindex(u[frame].shape):
            is_end = face[axis] in (0, n[axis])
            is_top = is_end and axis == last and face[axis] > 0
            cells = [
                states.cells[frame][
                    (*face[:axis], face[axis] - back, *face[axis + 1 :])
                ]
                for back in (0, 1)
                if 0 <= face[axis] - back < n[axis]
            ]
            if is_end and not (is_top and family.top == "open"):
                assert u[frame][face] == 0
            elif SOLID in cells and not is_end:
                other = last - axis if axis in (0, last) else axis
                arm = (face[other] + 0.5) / n[other] - pivot[other]
                sign = {0: -1, last: 1}.get(axis, 0)
                assert abs(u[frame][face] - sign * turning * arm) < 1e-12


@each_case
def test_matrices_are_definite_or_singular_as_they_say(name: str):
    family, (_, parameters) = CASES[name], flow(name)
    last = {key: values[-1] for key, values in parameters.items()}
    A, b = family.system(last)
    matrix = np.asarray(A.as_matrix())
    np.testing.assert_array_equal(matrix, matrix.T)
    is_singular = "positive_definite" not in A.tags
    assert is_singular == (family.top == "closed" and family.scene != "free_surface")
    eigenvalues = np.linalg.eigvalsh(matrix)
    eps = 1e-13 * eigenvalues[-1]
    assert np.count_nonzero(eigenvalues <= eps) == is_singular
    assert not is_singular or abs(np.sum(b)) <= 1e-12 * np.sum(abs(b))


@pytest.mark.parametrize("name", ["closed", "3-D"])
def test_a_body_pushes_away_what_it_lets_in_behind(name: str):
    family = CASES[name]
    state = mac.predict(
        family.initial_state(0), family.scene, is_open=False, time_step=0.02
    )
    b = mac.negative_divergence(state.velocity, state.cells)
    assert abs(float(jnp.sum(b))) <= 1e-13 * float(jnp.sum(abs(b)))


@pytest.mark.parametrize("name", ["rotating-open", "free_surface-closed"])
def test_samples_are_the_frames_of_the_simulation(name: str):
    family, (_, parameters) = CASES[name], flow(name)
    first = family.num_frames  # of run 1
    for frame in (0, 5, NUM_FRAMES - 1):
        sample = family.sample(first + frame)
        np.testing.assert_array_equal(sample["cells"], parameters["cells"][frame])
        b = parameters["right_hand_side"][frame]
        error = np.linalg.norm(sample["right_hand_side"] - b)
        assert error <= 1e-6 * np.linalg.norm(b)


def test_runs_advance_side_by_side():
    family = CASES["rotating-open"]
    states = [family.initial_state(run) for run in (0, 1)]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *states)
    frame = jax.jit(jax.vmap(lambda state: family.advance(state, pressure)))
    after, parameters = frame(stacked)
    _, expected = flow("rotating-open")
    np.testing.assert_allclose(
        parameters["right_hand_side"][1], expected["right_hand_side"][0], atol=1e-9
    )
    assert after.frame.tolist() == [1, 1]
    assert np.any(after.cells[0] != after.cells[1])


def test_a_liquid_at_rest_stays_at_rest():
    family = PressureProjection((8, 12), "free_surface", top="closed")
    state = family.initial_state(0)
    height = np.broadcast_to(family.coordinates()["y"], (8, 12)) - 0.5
    state = state._replace(
        cells=jnp.asarray(np.where(height < 0, FLUID, AIR), jnp.int32),
        density=jnp.asarray(height),
    )
    after, parameters = jax.jit(lambda s: family.advance(s, pressure))(state)
    u, v = after.velocity
    scale = family.time_step * float(state.setting.force)
    assert np.max(np.abs(u)) <= 1e-9 * scale
    assert np.max(np.abs(v)) <= 1e-9 * scale
    np.testing.assert_array_equal(after.cells, state.cells)
    np.testing.assert_allclose(after.density, height, atol=1e-14)
    # All of the weight is on the floor.
    b = np.zeros((8, 12))
    b[:, 0] = 12 * scale
    np.testing.assert_allclose(parameters["right_hand_side"], b, atol=1e-12)


def test_a_liquid_falls_and_fills_as_many_cells():
    states, _ = flow("free_surface-closed")
    counts = np.count_nonzero(states.cells == FLUID, axis=(1, 2))
    assert len(set(counts.tolist())) == 1
    is_liquid = states.cells == FLUID
    heights = [np.nonzero(frame)[1].mean() for frame in is_liquid]
    assert heights[-1] < heights[0] - 0.2


def test_smoke_rises():
    states, _ = flow("plume-open")
    y = CASES["plume-open"].coordinates()["y"]
    heights = [np.sum(s * y) / np.sum(s) for s in states.density]
    assert np.all(np.diff(heights[2:]) > 0)


@pytest.mark.parametrize("top", ["open", "closed"])
def test_all_fluid_among_solids_leads_on(top: Any):
    family = PressureProjection((32, 32), "random_solids", solid=0.35, top=top)
    cells = np.asarray(family.initial_state(3).cells)
    assert 0.2 < np.mean(cells == SOLID) < 0.8
    regions: np.ndarray = label(cells == FLUID)[0]  # pyright: ignore
    found = set(regions[cells == FLUID].tolist())
    outside = {0, *regions[:, -1].tolist()} if top == "open" else {1}
    assert found <= outside


def test_a_source_that_is_walled_in_is_refused():
    family = PressureProjection((16, 16), "random_solids", solid=0.99)
    with pytest.raises(ValueError, match=r"no fluid at the source.*lower solid"):
        family.sample(0)


def test_a_body_stays_away_from_the_outermost_of_eight_cells():
    for scene in ("rotating", "moving_disc"):
        for run in range(40):
            cells = PressureProjection((8, 8), scene).initial_state(run).cells
            inner = np.asarray(cells)[1:-1, 1:-1]
            assert np.sum(inner == SOLID) == np.sum(np.asarray(cells) == SOLID)


def test_runs_differ_and_are_the_same_on_every_grid():
    coarse, fine = (PressureProjection(n, "obstacle") for n in ((8, 8), (24, 24)))
    settings = [coarse.initial_state(run).setting for run in (0, 1)]
    assert np.any(settings[0].source != settings[1].source)
    for a, b in zip(settings[0], fine.initial_state(0).setting, strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_run_does_not_depend_on_how_many_frames_it_has():
    short, long = (PressureProjection((8, 8), num_frames=n) for n in (2, 3))
    np.testing.assert_allclose(
        short.sample(3)["right_hand_side"], long.sample(4)["right_hand_side"]
    )


def test_a_sample_may_be_written_to():
    family = PressureProjection((8, 8), num_frames=2)
    family.sample(0)["right_hand_side"][:] = 0
    assert np.any(family.sample(0)["right_hand_side"])


@pytest.mark.parametrize("name", ["random_solids-closed", "3-D"])
def test_a_flow_is_read_from_its_record(name: str):
    assert family_from_record(record(CASES[name]), 1) == CASES[name]


def test_frames_in_32_bits_are_close_to_those_in_64():
    single = PressureProjection((16, 12), num_frames=8, dtype="float32")
    double = PressureProjection((16, 12), num_frames=8)
    found, expected = (f.sample(7)["right_hand_side"] for f in (single, double))
    assert found.dtype == np.float32
    assert np.linalg.norm(found - expected) <= 1e-4 * np.linalg.norm(expected)


def test_a_negative_sample_is_refused():
    with pytest.raises(ValueError, match="must not be negative"):
        PressureProjection((8, 8)).sample(-1)


def test_another_grid_or_a_solution_instead_of_its_value_is_refused():
    family, other = PressureProjection((8, 8)), PressureProjection((6, 6))
    state = other.initial_state(0)
    with pytest.raises(ValueError, match=r"state must be one of \(8, 8\) cells"):
        family.advance(state, lambda A, b: b)
    with pytest.raises(ValueError, match="solve must return the array phi"):
        jax.eval_shape(lambda s: other.advance(s, lambda A, b: (b,))[1], state)

"""Trajectories: what is kept, and what becomes of a run that was stopped or changed."""

import errno
import json
import os
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import krylax as kx
from krylax.datasets import channel_flow
from krylax.datasets.channel_flow._trajectory_run import TrajectoryRun
from krylax.datasets.store._commits import sealed

Tree = Callable[[Path], dict[str, bytes]]
Generate = Callable[..., kx.datasets.Trajectory]
FailAt = Callable[[int, BaseException], list[str]]
SHAPE = (4, 6, 3)
# More than the changes of the file system that one run makes.
NUM_CHANGES = 320


class Crash(BaseException):
    """Stands for a kill where a test wants to stay in one process."""


@pytest.fixture(scope="module")
def generate(flow: channel_flow.Channel, state: channel_flow.State) -> Generate:
    """Keeps 7 snapshots in segments of 3."""
    return partial(
        channel_flow.generate_trajectory,
        flow,
        state,
        7,
        interval=2,
        spin_up=3,
        shape=SHAPE,
        segment_size=3,
        progress=False,
    )


@pytest.fixture(scope="module")
def finished(generate: Generate, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trajectory that tests may read but not change."""
    path = tmp_path_factory.mktemp("finished") / "channel"
    generate(path=path)
    return path


@pytest.fixture(scope="module")
def stopped(generate: Generate, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The working folder of a run with two segments done, to be copied."""
    folder = tmp_path_factory.mktemp("stopped")
    partial_folder = folder / "channel.partial"
    with pytest.MonkeyPatch.context() as patch:
        real = os.replace

        def replace(source: Any, place: Any) -> None:
            if Path(place).name == "000002.velocity.npy":
                raise Crash
            real(source, place)

        patch.setattr(os, "replace", replace)
        with pytest.raises(Crash):
            generate(path=folder / "channel")
    commits = sorted(path.name for path in (partial_folder / "commits").iterdir())
    assert commits == ["000000.json", "000001.json"]
    return partial_folder


@pytest.fixture
def partial_folder(stopped: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(stopped, tmp_path / "channel.partial"))


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished, tmp_path / "copy"))


def test_snapshots_are_the_filtered_velocities_of_the_run(
    finished: Path, flow: channel_flow.Channel, state: channel_flow.State
):
    trajectory = kx.datasets.open_trajectory(finished)
    now, expected = flow.restarted(flow.run(state, 3)), []
    for index in range(7):
        now = flow.run(now, 2) if index else now
        expected.append(np.asarray(flow.filtered(now, SHAPE), np.float32))
    times = float(state.time) + (3 + 2 * np.arange(7)) * float(flow.dt)
    assert np.isclose(times[-1], float(now.time), rtol=1e-13)
    now = eqx.tree_at(lambda s: s.time, now, jnp.asarray(times[-1]))
    velocity = trajectory["velocity"]
    assert velocity.shape == (7, 3, *SHAPE)
    assert velocity.dtype == np.float32
    assert np.array_equal(velocity[...], np.stack(expected))
    assert trajectory.times.tolist() == times.tolist()
    assert len(trajectory) == len(list(trajectory)) == 7
    assert np.array_equal(trajectory[-1]["velocity"], expected[-1])
    found = channel_flow.final_state(flow, trajectory)
    pairs = zip(jax.tree.leaves(found), jax.tree.leaves(now), strict=True)
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in pairs)
    assert int(flow.statistics(found).num_samples) == 6


def test_time_in_single_precision_is_that_of_so_many_steps(
    flow: channel_flow.Channel, state: channel_flow.State
):
    def single(tree: Any) -> Any:
        return jax.tree.map(
            lambda a: a.astype(np.float32) if a.dtype == np.float64 else a, tree
        )

    late = single(eqx.tree_at(lambda s: s.time, state, jnp.asarray(200.0)))
    settings = {"spin_up": 0, "interval": 20_000}
    run = TrajectoryRun(Path("x"), single(flow), late, settings, progress=False)
    found, now = run._timed(late, 5)
    assert now == 200 + 100_000 * float(np.float32(flow.dt))
    assert found.time.dtype == np.float32
    assert float(found.time) == pytest.approx(now, rel=1e-7)


def test_velocities_beyond_the_dtype_that_is_kept_are_refused(
    generate: Generate, tmp_path: Path
):
    flow, state, _ = generate.args  # pyright: ignore[reportFunctionMemberAccess]
    slow = eqx.tree_at(lambda f: f.dt, flow, jnp.asarray(1e-9))
    fast = eqx.tree_at(lambda s: s.u, state, state.u + 1e5)
    with pytest.raises(FloatingPointError, match="beyond what float16 holds; 0 of 1"):
        channel_flow.generate_trajectory(
            slow,
            fast,
            1,
            tmp_path / "channel",
            interval=2,
            shape=SHAPE,
            dtype="float16",
            progress=False,
        )


def test_grid_and_provenance_are_kept(finished: Path, flow: channel_flow.Channel):
    trajectory = kx.datasets.open_trajectory(finished)
    points = flow.filtered_grid(SHAPE)
    for axis, weights in zip("xyz", points.weights, strict=True):
        assert np.array_equal(trajectory.coordinates[axis], getattr(points, axis))
        assert np.array_equal(trajectory.weights[axis], weights)
    assert trajectory.lengths == points.lengths
    configuration = trajectory.provenance["configuration"]
    assert configuration["flow"]["dt"] == float(flow.dt)
    assert configuration["spin_up"] == 3
    assert "jax" in trajectory.provenance["versions"]
    assert "velocity: float32 (7, 3, 4, 6, 3)" in repr(trajectory)
    assert "Re_tau = 180" in (finished / "README.md").read_text()


def test_the_same_call_opens_what_is_finished(
    generate: Generate, finished: Path, tree: Tree
):
    before = tree(finished)
    assert generate(path=finished).path == finished
    assert tree(finished) == before
    assert not finished.with_name("channel.partial").exists()


@pytest.mark.parametrize("n", range(1, NUM_CHANGES, 60))
def test_a_crash_at_any_change_is_made_good_by_the_same_call(
    generate: Generate,
    finished: Path,
    tree: Tree,
    tmp_path: Path,
    fail_at: FailAt,
    monkeypatch: pytest.MonkeyPatch,
    n: int,
):
    calls = fail_at(n, Crash())
    crashed = raises(Crash, lambda: generate(path=tmp_path / "channel"))
    assert crashed == (len(calls) >= n)
    monkeypatch.undo()
    generate(path=tmp_path / "channel")
    assert tree(tmp_path / "channel") == tree(finished)
    assert [path.name for path in tmp_path.iterdir()] == ["channel"]


@pytest.mark.parametrize("n", [30, 180])
def test_a_full_disk_says_what_is_safe_and_loses_nothing(
    generate: Generate,
    finished: Path,
    tree: Tree,
    tmp_path: Path,
    fail_at: FailAt,
    monkeypatch: pytest.MonkeyPatch,
    n: int,
):
    fail_at(n, OSError(errno.ENOSPC, "No space left on device"))
    with pytest.raises(kx.datasets.OutOfSpaceError, match=r"[067] of 7 samples comm"):
        generate(path=tmp_path / "channel")
    monkeypatch.undo()
    generate(path=tmp_path / "channel")
    assert tree(tmp_path / "channel") == tree(finished)


def test_too_little_space_is_seen_before_it_is_needed(
    generate: Generate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    with pytest.raises(kx.datasets.OutOfSpaceError, match="0 of 7 samples committed"):
        generate(path=tmp_path / "channel")


def test_committed_segments_are_not_simulated_again(
    generate: Generate, partial_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    steps: list[Any] = []
    real = channel_flow.Channel.run

    def run(flow: Any, state: Any, num_steps: Any) -> Any:
        steps.append(num_steps)
        return real(flow, state, num_steps)

    monkeypatch.setattr(channel_flow.Channel, "run", run)
    generate(path=partial_folder.with_name("channel"))
    assert steps == [2]


def shortened(data: bytes) -> bytes:
    return data[: len(data) // 2]


def without_times(data: bytes) -> bytes:
    record = json.loads(data)
    del record["sha256"]
    return sealed(record | {"samples": [{"wall_seconds": 0.0}] * 3})


@pytest.mark.parametrize(
    ("place", "damage"),
    [
        ("segments/000000.velocity.npy", shortened),
        ("segments/000001.state.u.npy", lambda data: data[:-1] + b"x"),
        ("commits/000000.json", shortened),
        ("commits/000001.json", without_times),
        ("order.npy", shortened),
    ],
)
def test_what_is_damaged_is_simulated_again(
    generate: Generate,
    partial_folder: Path,
    finished: Path,
    tree: Tree,
    place: str,
    damage: Callable[[bytes], bytes],
):
    file = partial_folder / place
    file.write_bytes(damage(file.read_bytes()))
    target = partial_folder.with_name("channel")
    generate(path=target)
    assert tree(target) == tree(finished)


def test_a_segment_behind_a_damaged_one_does_not_count(
    generate: Generate, partial_folder: Path, monkeypatch: pytest.MonkeyPatch
):
    file = partial_folder / "segments" / "000000.velocity.npy"
    file.write_bytes(b"")

    def stop(*_: Any) -> None:
        raise Crash

    monkeypatch.setattr(channel_flow.Channel, "run", stop)
    assert raises(Crash, lambda: generate(path=partial_folder.with_name("channel")))
    assert not list((partial_folder / "commits").iterdir())


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ({"interval": 3}, "interval: 2 -> 3"),
        ({"num_snapshots": 8}, "num_snapshots: 7 -> 8"),
        ({"shape": None}, r"shape: \[4, 6, 3\] -> \[8, 14, 6\]"),
        ({"dtype": np.float64}, 'dtype: "float32" -> "float64"'),
    ],
)
@pytest.mark.parametrize("is_finished", [True, False])
def test_another_configuration_is_refused_with_the_difference(
    generate: Generate,
    finished: Path,
    partial_folder: Path,
    is_finished: bool,
    change: dict[str, Any],
    difference: str,
):
    place = finished if is_finished else partial_folder.with_name("channel")
    function, arguments = generate.func, generate.keywords | change  # pyright: ignore[reportFunctionMemberAccess]
    flow, state, count = generate.args  # pyright: ignore[reportFunctionMemberAccess]
    count = arguments.pop("num_snapshots", count)
    with pytest.raises(FileExistsError, match=difference):
        function(flow, state, count, place, **arguments)


def test_another_flow_and_another_state_are_refused(
    generate: Generate, finished: Path, flow: channel_flow.Channel
):
    function, arguments = generate.func, generate.keywords  # pyright: ignore[reportFunctionMemberAccess]
    state = generate.args[1]  # pyright: ignore[reportFunctionMemberAccess]
    other = eqx.tree_at(lambda f: f.dt, flow, flow.dt / 2)
    with pytest.raises(FileExistsError, match=r"flow\.dt: 0\.\d+ -> 0\.\d+"):
        function(other, state, 7, finished, **arguments)
    other = eqx.tree_at(lambda s: s.u, state, state.u + 1)
    with pytest.raises(FileExistsError, match=r'state\.sha256: "\w+" -> "\w+"'):
        function(flow, other, 7, finished, **arguments)


def test_a_data_set_does_not_replace_the_run_of_a_trajectory(partial_folder: Path):
    darcy = kx.datasets.Darcy(num_points=(10, 8))
    target = partial_folder.with_name("channel")
    with pytest.raises(FileExistsError, match="another configuration"):
        kx.datasets.generate(darcy, 8, target, progress=False)


def test_a_flow_that_blows_up_keeps_what_is_committed(
    generate: Generate, tmp_path: Path
):
    flow, state, _ = generate.args  # pyright: ignore[reportFunctionMemberAccess]
    fast = eqx.tree_at(lambda f: f.dt, flow, jnp.asarray(0.5))
    target = tmp_path / "channel"
    with pytest.raises(FloatingPointError, match=r"not finite .*; 1 of 3 snapshots a"):
        channel_flow.generate_trajectory(
            fast,
            state,
            3,
            target,
            interval=60,
            shape=SHAPE,
            segment_size=1,
            progress=False,
        )
    assert (tmp_path / "channel.partial" / "commits" / "000000.json").exists()


def test_trajectories_and_data_sets_are_not_taken_for_each_other(copy: Path):
    with pytest.raises(ValueError, match="is a krylax trajectory, not a data set"):
        kx.datasets.open_dataset(copy)
    metadata = json.loads((copy / "zarr.json").read_text())
    metadata["attributes"]["format"] = "krylax"
    (copy / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match="is a krylax data set, not a trajectory"):
        kx.datasets.open_trajectory(copy)


def test_what_is_not_there_or_not_finished_is_named(partial_folder: Path):
    with pytest.raises(FileNotFoundError, match="no trajectory at"):
        kx.datasets.open_trajectory(partial_folder.with_name("other"))
    with pytest.raises(FileNotFoundError, match="is not finished"):
        kx.datasets.open_trajectory(partial_folder.with_name("channel"))
    with pytest.raises(FileNotFoundError, match="interrupted run, not a trajectory"):
        kx.datasets.open_trajectory(partial_folder)


def test_every_changed_file_is_found(copy: Path):
    assert kx.datasets.verify(copy).ok
    chunk = copy / "velocity" / "c" / "0" / "0" / "0" / "0" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-1] + b"x")
    (copy / "state.u" / "zarr.json").unlink()
    problems = kx.datasets.verify(copy).problems
    assert len(problems) == 2
    assert "file state.u/zarr.json: missing (array state.u)" in problems


@pytest.mark.parametrize(
    "change",
    [
        {"configuration": {}},
        {"configuration_hash": "0"},
        {"lengths": [1.0]},
        {"lengths": [1.0, 2.0, -1.0]},
        {"state_arrays": ["../x"]},
        {"card": {}},
    ],
)
def test_hostile_attributes_are_a_sentence(copy: Path, change: dict[str, Any]):
    metadata = json.loads((copy / "zarr.json").read_text())
    metadata["attributes"] |= change
    (copy / "zarr.json").write_text(json.dumps(metadata))
    with pytest.raises(ValueError, match=r"zarr\.json is damaged"):
        kx.datasets.open_trajectory(copy)


@pytest.mark.parametrize(
    "change", [{"shape": [7, 3, 4, 6, 4]}, {"data_type": "int32", "fill_value": 0}]
)
def test_an_array_of_another_shape_or_dtype_is_refused(
    copy: Path, change: dict[str, Any]
):
    place = copy / "velocity" / "zarr.json"
    place.write_text(json.dumps(json.loads(place.read_text()) | change))
    with pytest.raises(ValueError, match=r"velocity.zarr\.json is damaged"):
        kx.datasets.open_trajectory(copy)[0]


@pytest.mark.parametrize(
    "name", ["velocity", "time", "x", "weights_y", "state.u", "state.num_steps"]
)
def test_a_file_that_is_gone_is_no_number(copy: Path, name: str):
    files = [path for path in (copy / name / "c").rglob("*") if path.is_file()]
    for path in files or [copy / name / "c"]:
        path.unlink()
    with pytest.raises(ValueError, match=r"is damaged .values are missing.: take it"):
        kx.datasets.open_trajectory(copy).read(name)


def test_state_in_double_precision_is_not_rounded(
    finished: Path, flow: channel_flow.Channel
):
    trajectory = kx.datasets.open_trajectory(finished)
    with (
        jax.enable_x64(False),
        pytest.raises(ValueError, match="the state's u asks for float64 while jax_en"),
    ):
        channel_flow.final_state(flow, trajectory)


@pytest.mark.parametrize("is_file", [True, False])
def test_something_else_in_its_place_is_told(
    generate: Generate, tmp_path: Path, is_file: bool
):
    place = tmp_path / "channel"
    place.write_text("") if is_file else place.mkdir()
    with pytest.raises(FileExistsError, match=r"is not a krylax trajectory: .*another"):
        generate(path=place)


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        ({"interval": 0}, ValueError, "interval must be at least 1"),
        ({"segment_size": 1.5}, ValueError, "segment_size must be an integer"),
        ({"spin_up": -1}, ValueError, "spin_up must be at least 0"),
        ({"shape": (4, 2, 3)}, ValueError, "shape must be at least 3"),
        ({"dtype": "int32"}, ValueError, "dtype must be one of float16"),
        ({"progress": 1}, ValueError, "progress must be"),
        ({"path": "a/b.partial"}, ValueError, "must not end in .partial"),
    ],
)
def test_bad_argument_is_named(
    generate: Generate, change: dict[str, Any], kind: type[Exception], message: str
):
    with pytest.raises(kind, match=message):
        generate(**{"path": "never", **change})


def test_what_is_no_channel_or_no_state_is_named(state: channel_flow.State):
    with pytest.raises(TypeError, match="flow must be a Channel"):
        channel_flow.generate_trajectory(
            "180-toy",  # pyright: ignore[reportArgumentType]
            state,
            1,
            "never",
            interval=1,
        )


def raises(kind: type[BaseException], call: Callable[[], object]) -> bool:
    try:
        call()
    except kind:
        return True
    return False


def test_a_state_of_another_grid_is_refused(
    generate: Generate, state: channel_flow.State
):
    other = jax.tree.map(lambda leaf: leaf[..., :-1] if leaf.ndim == 3 else leaf, state)
    with pytest.raises(ValueError, match="the state has velocities of shapes"):
        generate.func(  # pyright: ignore[reportFunctionMemberAccess]
            generate.args[0],  # pyright: ignore[reportFunctionMemberAccess]
            other,
            1,
            "never",
            interval=1,
        )

"""What is shipped and what is exported, and who may import whom."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import version
from pathlib import Path

import pytest

import krylax as kx

ROOT = Path(__file__).parent.parent
FOLDERS = ["operators", "solvers", "learned", "datasets"]
# Who may be imported by whom, besides one's own folder.
ALLOWED = {
    "operators": set(),
    "solvers": {"operators"},
    "learned": {"operators", "solvers", "datasets"},
    "datasets": {"operators", "solvers"},
}


def run(*command: str, cwd: Path = ROOT) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def tracked(*patterns: str) -> list[str]:
    """The files that git tracks, or would track if they were added."""
    if shutil.which("git") is None or not (ROOT / ".git").exists():
        pytest.skip("what belongs in the wheel is what git lists; here is no checkout")
    options = ["--cached", "--others", "--exclude-standard"]
    listed = run("git", "ls-files", *options, *patterns).splitlines()
    return [path for path in listed if (ROOT / path).exists()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names in a wheel that is built from what git tracks and nothing else."""
    source = tmp_path_factory.mktemp("source")
    for path in tracked():
        (source / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / path, source / path, follow_symlinks=False)
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", cwd=source)
    (built,) = (source / "dist").glob("*.whl")
    return set(zipfile.ZipFile(built).namelist())


@pytest.mark.slow
def test_only_top_level_name_of_the_wheel_is_krylax(wheel: set[str]):
    names = {name.split("/")[0] for name in wheel}
    assert {name for name in names if not name.endswith(".dist-info")} == {"krylax"}


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS)
def test_wheel_holds_every_module_of_a_folder(wheel: set[str], folder: str):
    modules = {f"krylax/{path}" for path in tracked(f"{folder}/*.py")}
    assert modules
    assert modules <= wheel


@pytest.mark.slow
def test_wheel_holds_the_command_the_marker_of_types_and_the_licence(wheel: set[str]):
    modules = {path.removeprefix("src/") for path in tracked("src/krylax/*.py")}
    assert {"krylax/cli.py", "krylax/_generate_command.py"} <= modules
    assert modules | {"krylax/py.typed"} <= wheel
    assert any(name.endswith("/LICENSE") for name in wheel)


def test_package_exports_the_namespaces_and_the_solve():
    expected = {*FOLDERS, "solve", "Solution", "Status", "__version__"}
    assert set(dir(kx)) == expected
    assert all(getattr(kx, name) is not None for name in expected)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="has no attribute 'sovle'"):
        kx.sovle  # noqa: B018  # the access is what is tested


def test_top_level_names_are_those_of_the_solvers():
    assert kx.solve is kx.solvers.solve
    assert kx.Status is kx.solvers.Status


def test_importing_the_package_does_not_import_jax():
    code = "import sys, krylax; print('jax' in sys.modules, 'numpy' in sys.modules)"
    assert run(sys.executable, "-c", code).split() == ["False", "False"]


def test_importing_the_command_does_not_import_jax():
    code = (
        "import sys, krylax.{}; print(*{{'jax', 'zarr', 'scipy'}} & {{*sys.modules}})"
    )
    assert run(sys.executable, "-c", code.format("_commands")).split() == []


def test_importing_the_entry_of_the_command_reads_no_other_package():
    code = "import sys, krylax.cli; print(*{'numpy', 'tyro'} & {*sys.modules})"
    assert run(sys.executable, "-c", code).split() == []


def test_importing_the_package_leaves_the_configuration_of_jax_alone():
    code = (
        "import krylax.solvers, krylax.datasets, jax;"
        "print(jax.config.jax_enable_x64, jax.config.jax_default_matmul_precision)"
    )
    assert run(sys.executable, "-c", code).split() == ["False", "None"]


def test_version_is_that_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert kx.__version__ == version("krylax") == project["version"]


def test_version_is_that_of_the_citation():
    citation = (ROOT / "CITATION.cff").read_text()
    found = re.search(r'^version: "?([\w.]+)"?$', citation, re.MULTILINE)
    assert found is not None
    assert found[1] == kx.__version__


def test_version_is_the_newest_of_the_changelog():
    changelog = (ROOT / "CHANGELOG.md").read_text()
    released = re.findall(r"^## \[?(\d[\w.]*)\]?", changelog, re.MULTILINE)
    assert released[0] == kx.__version__


# The inverse of an operator is a solve: it imports the solvers when it is used.
INVERSE = "_inverse.py"


def imported_folders(path: Path, folder: str) -> set[str]:
    """The library folders that a module imports, relatively or by name."""
    depth = len(path.relative_to(ROOT / folder).parts)
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom):
            module = (node.module or "").removeprefix("krylax.")
            is_outside = node.level > depth or (node.module or "").startswith("krylax.")
            names = [module.split(".")[0]] if module else [a.name for a in node.names]
            found |= set(names) if is_outside else set()
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if "krylax." in a.name}
    return found & set(FOLDERS)


@pytest.mark.parametrize("folder", FOLDERS)
def test_folder_imports_only_what_is_below_it(folder: str):
    found = {
        path.name: imported_folders(path, folder) - ALLOWED[folder] - {folder}
        for path in sorted((ROOT / folder).rglob("*.py"))
        if path.name != INVERSE
    }
    assert {name: folders for name, folders in found.items() if folders} == {}


@pytest.mark.parametrize("folder", ["operators", "solvers", "datasets"])
def test_imports_between_folders_are_seen_by_the_check(folder: str):
    # Guards the test above: an empty answer there must not come from a blind check.
    found = [
        imported_folders(path, folder)
        for path in (ROOT / folder).rglob("*.py")
        if path.name != INVERSE
    ]
    assert set().union(*found) == ALLOWED[folder]


# Which rooms of its folder, and which files beside the rooms, a room may import.
# CONTRIBUTING has the same table.
ROOMS = {
    "operators/grids": set(),
    "solvers/core": set(),
    "solvers/sweeps": set(),
    "solvers/krylov": {"core"},
    "solvers/wrappers": {"core"},
    "solvers/multigrid": {"core", "sweeps"},
    "solvers/factorization": {"core", "sweeps"},
    "solvers/least_squares": {"core"},
    "solvers/relaxation": {"core", "sweeps", "krylov"},
    "solvers/recycling": {"core", "krylov"},
    "solvers/sequences": {"core", "wrappers", "recycling", "_solve"},
    "solvers/tuning": {
        "core",
        "factorization",
        "krylov",
        "multigrid",
        "relaxation",
        "sequences",
        "sweeps",
        "recycling",
        "wrappers",
        "_solve",
    },
    "datasets/channel_flow": {"store", "generation", "_names", "_optional"},
    "datasets/families": {"_names", "_optional"},
    "datasets/store": {"families", "_names", "_optional"},
    "datasets/periodic_flow": set(),
    "datasets/generation": {"families", "store", "_names", "_optional"},
    "learned/conjugate_directions": {"training"},
    "learned/gaussian_process": set(),
    "learned/neural_operators": {"training"},
    "learned/training": set(),
}
# Files beside the rooms that all of a folder's rooms may import.
SHARED = {"operators": {path.stem for path in (ROOT / "operators").glob("_*.py")}}


def imported_rooms(path: Path) -> set[str]:
    """The rooms, and the files beside the rooms, of its own folder that a file imports.

    What a function imports when it is called is left out, as are types.
    """
    folder, room, *_ = path.relative_to(ROOT).parts
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.ImportFrom) and node.level == 2:
            names = [node.module] if node.module else [a.name for a in node.names]
            found |= {(name or "").split(".")[0] for name in names}
    return found - {room} - SHARED.get(folder, set())


@pytest.mark.parametrize("room", ROOMS)
def test_room_imports_only_what_is_below_it(room: str):
    files = sorted((ROOT / room).glob("*.py"))
    assert len(files) > 1
    found = {path.name: imported_rooms(path) - ROOMS[room] for path in files}
    assert {name: rooms for name, rooms in found.items() if rooms} == {}


def test_every_folder_with_modules_is_a_room():
    inits = [*ROOT.glob("*/*/__init__.py")]
    rooms = {
        f"{path.parent.parent.name}/{path.parent.name}"
        for path in inits
        if path.parent.parent.name in FOLDERS
    }
    assert rooms == set(ROOMS)


def test_rooms_have_no_circle():
    order: list[str] = []
    left = {
        room: {f"{room.split('/')[0]}/{name}" for name in rooms} & set(ROOMS)
        for room, rooms in ROOMS.items()
    }
    while ready := [room for room, below in left.items() if below <= set(order)]:
        order += ready
        left = {room: below for room, below in left.items() if room not in order}
    assert left == {}


@pytest.mark.parametrize("folder", FOLDERS)
def test_folder_of_the_package_is_the_folder_at_the_root(folder: str):
    link = ROOT / "src" / "krylax" / folder
    assert link.is_symlink()
    assert not link.readlink().is_absolute()
    assert link.resolve() == ROOT / folder

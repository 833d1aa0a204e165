"""Every family: its solutions against an assembly with loops and SuperLU, its card, and
a generated data set.

The assembly shares no code with krylax: it walks over cells and faces.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import scipy.sparse
import scipy.sparse.linalg

import krylax as kx
from krylax import datasets

from ...helpers import types_unchecked

Parameters = dict[str, np.ndarray]
Assembled = tuple[Any, np.ndarray]
SIDES = [(0, -1), (0, 1), (1, -1), (1, 1)]


def assemble(
    shape: tuple[int, ...],
    link: Callable[[tuple[int, int], tuple[int, int], int, int], tuple[Any, Any]],
    wall: Callable[[tuple[int, int], int, int], Any],
    shift: np.ndarray,
) -> Any:
    """A matrix from what each face adds to the diagonal and to the neighbour's column.

    Args:
        shape: of the grid.
        link: (cell, neighbour, axis, side) -> (to the diagonal, to the neighbour).
        wall: (cell, axis, side) -> to the diagonal.
        shift: what else the diagonal has.
    """
    number = np.arange(shape[0] * shape[1]).reshape(shape)
    matrix = scipy.sparse.lil_array((number.size,) * 2, dtype=shift.dtype)
    for cell in np.ndindex(shape):
        row = number[cell]
        matrix[row, row] = shift[cell]
        for axis, side in SIDES:
            place = list(cell)
            place[axis] += side
            other = (place[0], place[1])
            if 0 <= other[axis] < shape[axis]:
                own, beyond = link(cell, other, axis, side)
                matrix[row, row] += own
                matrix[row, number[other]] += beyond
            else:
                matrix[row, row] += wall(cell, axis, side)
    return matrix.tocsc()


def diffusion(k: np.ndarray, shift: np.ndarray, along_last: float = 1.0) -> Any:
    """-∇·(k∇u) + shift on cells, harmonic means, zero walls half a cell away.

    Along the last axis k is multiplied.
    """
    h = [1 / k.shape[0], 1 / k.shape[1] / along_last**0.5]

    def link(cell: Any, other: Any, axis: int, side: int) -> tuple[float, float]:
        c = 2 * k[cell] * k[other] / (k[cell] + k[other]) / h[axis] ** 2
        return c, -c

    return assemble(
        k.shape, link, lambda cell, axis, _: 2 * k[cell] / h[axis] ** 2, shift
    )


def poisson(family: datasets.Poisson, p: Parameters) -> Assembled:
    h = [1 / (n + 1) for n in family.num_points]
    matrix = assemble(
        family.num_points,
        lambda cell, other, axis, side: (1 / h[axis] ** 2, -1 / h[axis] ** 2),
        lambda cell, axis, side: 1 / h[axis] ** 2,
        np.zeros(family.num_points),
    )
    b = p["source"].copy()
    for i, j in np.ndindex(b.shape):
        b[i, j] += p["walls_x"][0, j] / h[0] ** 2 * (i == 0)
        b[i, j] += p["walls_x"][1, j] / h[0] ** 2 * (i == b.shape[0] - 1)
        b[i, j] += p["walls_y"][0, i] / h[1] ** 2 * (j == 0)
        b[i, j] += p["walls_y"][1, i] / h[1] ** 2 * (j == b.shape[1] - 1)
    return matrix, b


def thermal(family: datasets.Thermal, p: Parameters) -> Assembled:
    nx, ny = family.num_points
    h = [1 / (nx + 1), 1 / ny]
    slot = np.zeros((nx, ny), bool)
    for i, j in np.ndindex(nx, ny):
        x, y = (i + 1) / (nx + 1), (j + 0.5) / ny
        slot[i, j] = abs(x - 0.5) < 0.05 and abs(y - 0.5) < 0.25

    def link(cell: Any, other: Any, axis: int, side: int) -> tuple[float, float]:
        c = 0.0 if slot[cell] or slot[other] else 1 / h[axis] ** 2
        return c, -c

    matrix = assemble(
        (nx, ny),
        link,
        lambda cell, axis, side: (axis == 0) / h[0] ** 2,
        slot.astype(float),
    )
    b = np.zeros((nx, ny))
    b[0] += p["temperatures"][0] / h[0] ** 2
    b[-1] += p["temperatures"][1] / h[0] ** 2
    return matrix, b


def cavity(family: datasets.HelmholtzScattering, p: Parameters) -> Assembled:
    shift = -((family.wavenumber * p["index"]) ** 2)
    return diffusion(np.ones(family.num_points), shift), np.ones(family.num_points)


def scattered(family: datasets.HelmholtzScattering, p: Parameters) -> Assembled:
    nx, ny = family.num_points
    k, n = family.wavenumber, p["index"]
    wave = np.zeros((nx, ny), complex)
    damping = np.zeros((nx, ny))
    for i, j in np.ndindex(nx, ny):
        x, y = (i + 0.5) / nx, (j + 0.5) / ny
        wave[i, j] = np.exp(1j * k * x)
        depth = max(0.0, family.layer - min(x, 1 - x, y, 1 - y)) / family.layer
        damping[i, j] = family.damping * depth**2
    matrix = diffusion(np.ones((nx, ny)), -((k * n) ** 2) * (1 + 1j * damping))
    return matrix, k**2 * (n**2 - 1) * wave


def convection(family: datasets.ConvectionDiffusion, p: Parameters) -> Assembled:
    v, h = p["velocity"], [1 / n for n in family.num_points]

    def link(cell: Any, other: Any, axis: int, side: int) -> tuple[float, float]:
        outward = side * (v[axis][cell] + v[axis][other]) / 2 / h[axis]
        c = 1 / h[axis] ** 2
        return c + max(outward, 0), -c + min(outward, 0)

    def wall(cell: Any, axis: int, side: int) -> float:
        place = list(cell)
        place[axis] -= side
        inner = v[axis][place[0], place[1]]
        outward = side * (3 * v[axis][cell] - inner) / 2 / h[axis]
        return 2 / h[axis] ** 2 + max(outward, 0)

    shape = family.num_points
    return assemble(shape, link, wall, np.zeros(shape)), np.ones(shape)


def heat(family: datasets.Heat, p: Parameters) -> Assembled:
    shift = np.full(family.num_points, 1 / family.time_step)
    return diffusion(p["coefficient"], shift), p["before"] / family.time_step


def darcy(family: datasets.Darcy, p: Parameters) -> Assembled:
    shape = family.num_points
    matrix = diffusion(p["coefficient"], np.zeros(shape), family.anisotropy)
    return matrix, np.ones(shape)


def porous(family: datasets.Porous, p: Parameters) -> Assembled:
    pores, h = p["pores"], [1 / (n + 1) for n in family.num_points]

    def link(cell: Any, other: Any, axis: int, side: int) -> tuple[Any, Any]:
        c = pores[cell] * pores[other] / h[axis] ** 2
        return c, -c

    def wall(cell: Any, axis: int, side: int) -> Any:
        return pores[cell] / h[axis] ** 2

    return assemble(family.num_points, link, wall, 1 - pores), pores


def pressure(family: datasets.PressureProjection, p: Parameters) -> Assembled:
    cells, h = p["cells"], [1 / n for n in family.num_points]

    def link(cell: Any, other: Any, axis: int, side: int) -> tuple[float, float]:
        if cells[cell] != 2 or cells[other] == 1:
            return 0.0, 0.0
        return 1 / h[axis] ** 2, -int(cells[other] == 2) / h[axis] ** 2

    def wall(cell: Any, axis: int, side: int) -> float:
        return (cells[cell] == 2 and (axis, side) == (1, 1)) / h[axis] ** 2

    shift = (cells != 2).astype(float)
    return assemble(family.num_points, link, wall, shift), p["right_hand_side"]


SMALL = (14, 11)
MEDIUM: dict[str, Any] = {"num_points": SMALL, "contrast": 100.0, "width": 0.1}
WAVES: dict[str, Any] = {"num_points": (14, 12), "wavenumber": 5.0}
FAMILIES: dict[str, tuple[Any, Any]] = {
    "poisson": (datasets.Poisson(SMALL), poisson),
    "thermal": (datasets.Thermal((19, 12)), thermal),
    "cavity": (datasets.HelmholtzScattering(**WAVES), cavity),
    "scattered": (datasets.HelmholtzScattering(**WAVES, walls="absorbing"), scattered),
    "convection": (datasets.ConvectionDiffusion(SMALL), convection),
    "heat": (datasets.Heat(SMALL), heat),
    "channels": (datasets.Darcy(coefficient="channels", **MEDIUM), darcy),
    "random": (datasets.Darcy(coefficient="random", **MEDIUM, anisotropy=9.0), darcy),
    "porous": (datasets.Porous(SMALL, width=0.1), porous),
    "walls": (datasets.Porous(SMALL, mask="walls"), porous),
    "obstacle": (
        datasets.PressureProjection(SMALL, "obstacle", num_frames=6),
        pressure,
    ),
    "surface": (
        datasets.PressureProjection(SMALL, "free_surface", num_frames=6),
        pressure,
    ),
}
each_family = pytest.mark.parametrize("name", FAMILIES)


@each_family
def test_solution_is_that_of_superlu_for_an_independent_assembly(name: str):
    family, assembled = FAMILIES[name]
    parameters = family.sample(5)
    A, b = family.system(parameters)
    solver = kx.solvers.GCRODR(rtol=1e-12, restart=60, num_recycled=10)
    u = np.asarray(kx.solve(A, b, solver).value)
    matrix, rhs = assembled(family, parameters)
    expected = scipy.sparse.linalg.splu(matrix).solve(rhs.ravel().astype(matrix.dtype))
    assert np.linalg.norm(np.asarray(b) - rhs) <= 1e-14 * np.linalg.norm(rhs)
    # Both are as exact as the matrices are conditioned, below 1e4.
    assert np.linalg.norm(u.ravel() - expected) <= 1e-8 * np.linalg.norm(expected)


@each_family
def test_system_under_jit_is_the_eager_one(name: str):
    family = FAMILIES[name][0]
    parameters = family.sample(1)
    A, b = family.system(parameters)
    same_A, same_b = jax.jit(family.system)(parameters)
    np.testing.assert_allclose(same_b, b, rtol=1e-13)
    u = np.random.default_rng(0).standard_normal(b.shape).astype(b.dtype)
    multiply = jax.jit(lambda A, u: A @ u)
    found, expected = multiply(same_A, u), multiply(A, u)
    np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-9)


@each_family
def test_declared_tags_hold(name: str):
    family = FAMILIES[name][0]
    A, _ = family.system(family.sample(0))
    kx.operators.check_operator(A, jax.random.key(0))


@each_family
def test_samples_have_the_announced_types_and_differ(name: str):
    family = FAMILIES[name][0]
    first, second = family.sample(0), family.sample(1)
    types = family.array_types()
    assert list(types) == [*first, "solution"]
    for entry, array in first.items():
        assert (array.shape, array.dtype) == (types[entry].shape, types[entry].dtype)
    _, b = family.system(first)
    assert (b.shape, b.dtype) == (types["solution"].shape, types["solution"].dtype)
    assert np.any(family.features(first) != family.features(second))
    again = family.sample(0)
    assert all(np.array_equal(again[entry], first[entry]) for entry in first)


@each_family
def test_float32_gives_float32_throughout(name: str):
    family = type(FAMILIES[name][0])(**{**vars(FAMILIES[name][0]), "dtype": "float32"})
    parameters = family.sample(0)

    def fields(parameters: Any) -> Any:
        A, b = family.system(parameters)
        return b, A @ b

    dtypes = [field.dtype for field in jax.eval_shape(fields, parameters)]
    assert {d.itemsize // (1 + (d.kind == "c")) for d in dtypes} == {4}
    assert all(array.dtype in ("float32", "int32") for array in parameters.values())


@each_family
def test_generated_data_set_verifies_and_has_a_card_and_a_preview(
    name: str, tmp_path: Path
):
    family = FAMILIES[name][0]
    solver = kx.solvers.BiCGStab(rtol=1e-8)
    data = datasets.generate(family, 3, tmp_path / "data", solver, progress=False)
    assert not data.failed
    assert datasets.verify(tmp_path / "data").ok
    assert data.family == family
    card = (tmp_path / "data" / "README.md").read_text()
    assert family.card()["equation"] in card
    picture = datasets.preview(tmp_path / "data", 2, tmp_path / "preview.png")
    assert picture.stat().st_size > 5000


def test_quadratic_is_reproduced_by_poisson():
    # The 5-point stencil is exact for u = x² + 2 y², whose Laplacian is 6.
    family = datasets.Poisson((9, 6))
    x, y = family.coordinates().values()
    parameters = {
        "source": np.full((9, 6), -6.0),
        "walls_x": np.stack([2 * y**2, 1 + 2 * y**2]),
        "walls_y": np.stack([x**2, x**2 + 2]),
    }
    A, b = family.system(parameters)
    expected = x[:, None] ** 2 + 2 * y[None, :] ** 2
    np.testing.assert_allclose(A @ expected, b, rtol=1e-12)


def test_source_is_the_series_of_its_coefficients():
    family = datasets.Poisson((5, 4))
    p = family.sample(0)
    x, y = family.coordinates().values()
    T = np.polynomial.chebyshev.chebval
    for i, j in np.ndindex(5, 4):
        along = [
            c * T(2 * x[i] - 1, np.eye(5)[k]) * T(2 * y[j] - 1, np.eye(5)[k])
            for k, c in enumerate(p["series"][0])
        ]
        assert abs(p["source"][i, j] - sum(along)) < 1e-14
    np.testing.assert_allclose(p["walls_y"][1], T(2 * x - 1, p["series"][4]))


@pytest.mark.parametrize("name", ["poisson", "thermal"])
def test_matrix_is_the_same_for_all_samples(name: str):
    family = FAMILIES[name][0]
    first, second = (family.system(family.sample(i))[0] for i in (0, 1))
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True):
        np.testing.assert_array_equal(a, b)


def test_temperature_between_the_walls_is_bounded_by_theirs_and_odd():
    family = datasets.Thermal((21, 16))
    A, b = family.system({"temperatures": np.array([-1.0, 1.0])})
    u = np.asarray(kx.solve(A, b, kx.solvers.CG(rtol=1e-12)).value)
    outside = ~family.is_slot()
    assert np.max(np.abs(u[outside])) < 1
    np.testing.assert_allclose(u, -u[::-1], atol=1e-9)
    np.testing.assert_allclose(u, u[:, ::-1], atol=1e-9)


def test_cavity_is_indefinite():
    family = datasets.HelmholtzScattering()
    matrix, _ = cavity(family, family.sample(0))
    lowest = scipy.sparse.linalg.eigsh(
        matrix, k=1, sigma=-200.0, return_eigenvectors=False
    )
    assert lowest[0] < 0


def test_absorbing_layer_stands_for_a_domain_three_times_as_large():
    n, k = 48, 20.0
    family = datasets.HelmholtzScattering((n, n), wavenumber=k, walls="absorbing")
    index = family.sample(0)["index"]
    matrix, rhs = scattered(family, {"index": index})
    near: Any = scipy.sparse.linalg.spsolve(matrix, rhs.ravel()).reshape(n, n)
    # The same medium in the middle of a larger domain, in units of its size.
    far_family = datasets.HelmholtzScattering(
        (3 * n, 3 * n), wavenumber=3 * k, walls="absorbing", layer=0.3
    )
    padded = {"index": np.pad(index, n, constant_values=1.0)}
    matrix, rhs = scattered(far_family, padded)
    # The incident wave is 1 at the corner of the domain, there and here.
    rhs = rhs * np.exp(-1j * k)
    far: Any = scipy.sparse.linalg.spsolve(matrix, rhs.ravel()).reshape(3 * n, 3 * n)
    inner = slice(10, 38)
    expected = far[n : 2 * n, n : 2 * n][inner, inner]
    error = np.linalg.norm(near[inner, inner] - expected) / np.linalg.norm(expected)
    assert error < 0.15


def test_flow_has_the_peclet_number_of_its_range_and_no_divergence():
    family = datasets.ConvectionDiffusion((64, 64), peclet=(32, 320))
    for sample_id in range(3):
        v = family.sample(sample_id)["velocity"]
        assert 32 <= np.max(np.hypot(*v)) <= 320
        du = np.gradient(v[0], 1 / 64, axis=0)[2:-2, 2:-2]
        dv = np.gradient(v[1], 1 / 64, axis=1)[2:-2, 2:-2]
        assert np.max(np.abs(du + dv)) <= 1e-9 * np.max(np.abs(du))


def test_heat_coefficient_turns_and_returns():
    family = datasets.Heat((8, 8), steps_per_turn=40)
    c = [family.sample(i)["coefficient"] for i in (0, 1, 20, 40)]
    np.testing.assert_allclose(c[0], c[3], rtol=1e-12)
    np.testing.assert_allclose(c[0] * c[2], 1.0, rtol=1e-12)
    near, far = (np.linalg.norm(np.log(c[0] / other)) for other in (c[1], c[2]))
    assert near < 0.1 * far


BAD: list[tuple[Any, dict[str, Any], str]] = [
    (datasets.Poisson, {"num_points": (4,)}, "must be 2 integers"),
    (datasets.Thermal, {"num_points": (2, 8)}, "at least 3"),
    (datasets.Thermal, {"dtype": "float16"}, "dtype must be one of"),
    (datasets.HelmholtzScattering, {"wavenumber": 40.0}, "at least 87 per axis"),
    (datasets.HelmholtzScattering, {"contrast": 1.0}, "contrast must be below 1"),
    (datasets.HelmholtzScattering, {"layer": 0.5}, "layer must be below 0.5"),
    (datasets.HelmholtzScattering, {"walls": "open"}, "walls must be one of"),
    (datasets.ConvectionDiffusion, {"peclet": (6.0, 5.0)}, "at most the second"),
    (datasets.ConvectionDiffusion, {"scheme": "quick"}, "scheme must be one of"),
    (datasets.Darcy, {"coefficient": "channels", "num_points": (8,)}, "2 or 3 axes"),
    (datasets.Darcy, {"num_channels": 0}, "num_channels must be at least 1"),
    (datasets.Darcy, {"coefficient": "layers", "num_points": (9, 9)}, "of a cell"),
    (datasets.Darcy, {"contrast": -1.0}, "contrast must be positive"),
    (datasets.Porous, {"solid": 1.0}, "solid must be below 1"),
    (datasets.Porous, {"num_points": (9, 9)}, "width must be at least that of a cell"),
    (datasets.Porous, {"mask": "comb"}, "mask must be one of"),
    (datasets.PressureProjection, {"scene": "fire"}, "scene must be one of"),
    (datasets.PressureProjection, {"top": "ajar"}, "top must be one of"),
    (datasets.PressureProjection, {"num_points": (64,)}, "must be 2 or 3 integers"),
    (datasets.PressureProjection, {"num_frames": 0}, "num_frames must be at least 1"),
    (datasets.PressureProjection, {"solid": 1.0}, "solid must be below 1"),
    (datasets.PressureProjection, {"time_step": 0.0}, "time_step must be positive"),
    (
        datasets.PressureProjection,
        {"num_points": (9, 9), "scene": "random_solids"},
        "width must be at least that of a cell",
    ),
    (datasets.Heat, {"steps_per_turn": 0}, "at least 1"),
    (datasets.Heat, {"time_step": -1.0}, "positive and finite"),
    (datasets.Heat, {"seed": -1}, "must not be negative"),
]


@pytest.mark.parametrize(("make", "options", "message"), BAD)
def test_family_that_makes_no_sense_is_refused(
    make: Any, options: dict[str, Any], message: str
):
    with types_unchecked(), pytest.raises(ValueError, match=message):
        make(**options)

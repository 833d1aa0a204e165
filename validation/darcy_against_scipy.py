"""Check every sample of a 2-D Darcy data set without any code of krylax.

    python validation/darcy_against_scipy.py build/darcy64

Reads the arrays with zarr, assembles the five-point finite-volume matrix of each stored
coefficient with SciPy, computes the residual of the stored solution, and compares the
solution with SuperLU's. Exits with 1 where a good sample misses its tolerance.
"""

import argparse
import sys
from typing import Any

import numpy as np
import scipy.sparse as sp
import scipy.sparse.linalg as spla
import zarr

AGREEMENT = 1e-6
"""Largest relative difference from SuperLU: rtol 1e-8 times a condition number."""


def main() -> int:
    """Print the worst figures; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("dataset", help="folder of a generated 2-D Darcy data set")
    group: Any = zarr.open_group(parser.parse_args().dataset, mode="r")
    family = group.attrs["configuration"]["family"]
    rtol = group.attrs["configuration"]["solver"]["rtol"]
    good = np.flatnonzero(group["status"][:] == 0)
    residuals, differences = [], []
    for i in good:
        A = assemble(group["coefficient"][int(i)], family["face_mean"])
        u, b = group["solution"][int(i)].ravel(), np.ones(A.shape[0])
        residuals.append(np.linalg.norm(b - A @ u) / np.linalg.norm(b))
        exact: Any = spla.spsolve(A, b)
        differences.append(np.linalg.norm(u - exact) / np.linalg.norm(exact))
    print(f"{len(good)} good samples of {group['status'].shape[0]}")
    print(f"largest relative residual          {max(residuals):.3e} (at most {rtol:g})")
    print(f"largest difference from SuperLU    {max(differences):.3e} ({AGREEMENT:g})")
    return int(max(residuals) > rtol or max(differences) > AGREEMENT)


def assemble(k: np.ndarray, face_mean: str) -> Any:
    """Matrix of -div(k grad u) on the unit square, walls on the faces of cells."""
    number = np.arange(k.size).reshape(k.shape)
    rows: list[np.ndarray] = []
    columns: list[np.ndarray] = []
    values: list[np.ndarray] = []
    diagonal = np.zeros(k.shape)
    for axis, n in enumerate(k.shape):
        first, last = np.moveaxis(k, axis, 0)[:-1], np.moveaxis(k, axis, 0)[1:]
        harmonic = 2 / (1 / first + 1 / last)
        face = n**2 * (harmonic if face_mean == "harmonic" else (first + last) / 2)
        lower, upper = (
            np.moveaxis(number, axis, 0)[:-1],
            np.moveaxis(number, axis, 0)[1:],
        )
        rows += [lower.ravel(), upper.ravel()]
        columns += [upper.ravel(), lower.ravel()]
        values += [-face.ravel(), -face.ravel()]
        along = np.moveaxis(diagonal, axis, 0)
        along[:-1] += face
        along[1:] += face
        walls = np.moveaxis(k, axis, 0)
        along[0] += 2 * n**2 * walls[0]
        along[-1] += 2 * n**2 * walls[-1]
    rows.append(number.ravel())
    columns.append(number.ravel())
    values.append(diagonal.ravel())
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return sp.csc_array(sp.coo_array(entries, shape=(k.size, k.size)))


if __name__ == "__main__":
    sys.exit(main())

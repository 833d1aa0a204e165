"""What is measured of fields of wall turbulence, (times, 3, nx, ny, nz) on points.

profiles     U, u', v', w' and -u'v', means over time and both halves;
spectra      the energy of u' by wavenumber along x and z, near the wall and in the
             middle, and the mean of |log₁₀| of the ratio of two of them;
correlation  of the fluctuations of two fields over all points and channels;
divergence   its rms over that of the gradient: by Fourier series along x and z, and
             by differences of second order along y.

`loss` is what the surrogates are trained by, of one field (3, nx, ny, nz).
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from krylax.learned import training

NEAR_WALL = 15.0
"""In wall units."""


def loss(prediction: jax.Array, target: jax.Array, inputs: jax.Array) -> jax.Array:
    """The error of a step, and that of the profiles of u'u', v'v', w'w' and u'v' in it.

    By the error alone a model learns the mean of what may follow, which has less energy
    than any of it: rollouts of IFactFormer-m then keep 74 % of v', and 97 % where this
    loss ends the training.
    Statistics beside the error: R. Jiang et al., NeurIPS 2023, arXiv:2306.01187.
    """
    del inputs
    found, truth = _stresses(prediction), _stresses(target)
    error = jnp.sum((found - truth) ** 2, axis=1) / jnp.sum(truth**2, axis=1)
    # A root has no derivative at zero.
    off = jnp.mean(jnp.sqrt(error + 1e-12))
    return training.vrmse(prediction, target) + off


def _stresses(velocity: jax.Array) -> jax.Array:
    rest = velocity - jnp.mean(velocity, axis=(1, 3), keepdims=True)
    u, v, w = rest
    return jnp.stack([jnp.mean(q, axis=(0, 2)) for q in (u * u, v * v, w * w, u * v)])


def profiles(fields: np.ndarray) -> dict[str, np.ndarray]:
    """Mean profiles, folded over the middle."""
    mean = fields.mean((0, 2, 4))
    rest = fields - mean[None, :, None, :, None]
    rms = np.sqrt((rest**2).mean((0, 2, 4)))
    stress = -(rest[:, 0] * rest[:, 1]).mean((0, 1, 3))
    found = {"U": mean[0], "u": rms[0], "v": rms[1], "w": rms[2]}
    folded = {name: (q + q[::-1]) / 2 for name, q in found.items()}
    return {**folded, "-uv": (stress - stress[::-1]) / 2}


def differences(found: Any, truth: Any) -> dict[str, float]:
    """Relative L² of each profile."""
    return {
        name: float(np.linalg.norm(found[name] - q) / np.linalg.norm(q))
        for name, q in truth.items()
    }


def fluctuations(fields: np.ndarray, truth: Any) -> np.ndarray:
    """The fields without the true mean profile."""
    fields = np.array(fields)
    fields[..., 0, :, :, :] -= truth["U"][None, :, None]
    return fields


def relative_error(found: np.ndarray, truth: np.ndarray) -> float:
    """The mean over times of the relative L² of fields, without their mean profile."""
    axes = (-4, -3, -2, -1)
    sizes = np.sqrt((truth**2).sum(axes))
    return float(np.mean(np.sqrt(((found - truth) ** 2).sum(axes)) / sizes))


def correlation(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The correlation of fluctuations (..., 3, nx, ny, nz)."""
    axes = (-4, -3, -2, -1)
    products = [(p * q).sum(axes) for p, q in ((a, b), (a, a), (b, b))]
    return products[0] / np.sqrt(products[1] * products[2])


def spectra(fields: np.ndarray, y: np.ndarray, re_tau: float) -> dict[str, np.ndarray]:
    """The energy of u' by wavenumber, of planes near both walls and in the middle."""
    y_plus = re_tau * np.minimum(y - y[0], y[-1] - y)
    near = int(np.argmin(np.abs(y_plus[: len(y) // 2] - NEAR_WALL)))
    planes = {"wall": (near, len(y) - 1 - near), "middle": (len(y) // 2,)}
    rest = fields[:, 0] - fields[:, 0].mean((0, 1, 3))[None, None, :, None]
    found = {}
    for name, rows in planes.items():
        plane = rest[:, :, list(rows), :]
        for axis, at in (("x", 1), ("z", 3)):
            size = np.abs(np.fft.rfft(plane, axis=at) / plane.shape[at]) ** 2
            others = tuple(a for a in range(4) if a != at)
            found[f"{name}, k_{axis}"] = size.mean(others)[1:]
    return found


def spectral_error(found: Any, truth: Any) -> float:
    """The mean |log₁₀| of the ratio of spectra."""
    return float(np.mean([np.abs(np.log10(found[k] / truth[k])).mean() for k in truth]))


def divergence(fields: np.ndarray, y: np.ndarray, lengths: Any) -> float:
    """The rms of the divergence over that of the gradient, inside the walls."""

    def along(q: np.ndarray, axis: int, length: float) -> np.ndarray:
        n = q.shape[axis]
        waves = 2j * np.pi * np.fft.fftfreq(n, 1 / n) / length
        shape = [n if a == axis else 1 for a in range(q.ndim)]
        spectrum = waves.reshape(shape) * np.fft.fft(q, axis=axis)
        return np.real(np.fft.ifft(spectrum, axis=axis))

    def gradient(q: np.ndarray) -> np.ndarray:
        slopes = (
            along(q, 1, lengths[0]),
            np.gradient(q, y, axis=2),
            along(q, 3, lengths[1]),
        )
        return np.stack(slopes)[:, :, :, 1:-1]

    slopes = np.stack([gradient(fields[:, c]) for c in range(3)])
    total = np.einsum("cc...->...", slopes)
    return float(np.sqrt((total**2).mean() / (slopes**2).sum((0, 1)).mean()))

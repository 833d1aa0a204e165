"""The convolutional network of the Deep Conjugate Direction Method.

A. Kaneda, O. Akar, J. Chen, V. A. Trevino Kala, D. Hyde, J. Teran, A Deep Conjugate
Direction Method for Iteratively Solving Linear Systems, ICML 2023, PMLR 202, and the
layers of the authors' published code: with c = relu(conv) and pairs x + c(c(x)),

    stem, fine layers → mean over 2^d cells → coarse pairs → copied to the 2^d cells,
    added to the fine layers' result → fine pairs → one number per cell,

of 16 channels, 3^d weights and zeros outside of the grid. What it makes of r/‖r‖ is a
direction of search; `FlexibleCG(truncation=2)` with it is the method.

Differs from the paper:
1. The result is multiplied by ‖r‖, so that the map is homogeneous and f(0) = 0.
2. In 1-D and 2-D the same layers; odd sides are padded with a zero and cropped.
"""

from typing import Any, Literal, NamedTuple, get_args

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, DTypeLike, Float, Key
from typing_extensions import override

from ...operators import AbstractOperator
from ...operators._arguments import counted, shown
from ...solvers import InnerProduct
from ...solvers.core._arguments import require_inner_product

Architecture = Literal["from64", "from128"]
Normalization = Literal["norm", "rms", "none"]

NUM_CHANNELS = 16
EUCLIDEAN = InnerProduct()


class Layout(NamedTuple):
    """How many pairs of layers a network has, behind its first two."""

    fine_before: int
    coarse: int
    fine_after: int


LAYOUTS: dict[str, Layout] = {"from64": Layout(1, 3, 2), "from128": Layout(2, 5, 3)}


class Convolution(eqx.Module):
    """A convolution of 3^d or 1^d weights per pair of channels, zeros outside."""

    weight: Float[Array, "*window inputs outputs"]
    bias: Float[Array, " outputs"]

    def __call__(
        self, x: Float[Array, "*grid inputs"]
    ) -> Float[Array, "*grid outputs"]:
        *window, inputs, outputs = self.weight.shape
        bias = self.bias.reshape((1,) * len(window) + (-1,))
        if max(window) == 1:
            return x @ self.weight.reshape(inputs, outputs) + bias
        planes, weight = x[None], self.weight
        if len(window) == 3:
            # A plane and its neighbours are the channels of one in 2-D: XLA's
            # convolutions of 3 axes take 5 times as long on CPUs.
            padded = jnp.pad(x, [(1, 1), (0, 0), (0, 0), (0, 0)])
            shifted = [padded[i : i + len(x)] for i in range(3)]
            planes = jnp.concatenate(shifted, axis=-1)
            weight = jnp.moveaxis(weight, 0, 2).reshape(3, 3, 3 * inputs, outputs)
        axes = "XY"[: planes.ndim - 2]
        spec = (f"N{axes}C", f"{axes}IO", f"N{axes}C")
        y = lax.conv_general_dilated(
            planes, weight, (1,) * len(axes), "SAME", dimension_numbers=spec
        )
        return y.reshape(*x.shape[:-1], outputs) + bias


class DeepConjugateDirection(AbstractOperator):
    """The published network, as a nonlinear preconditioner of flexible solvers.

    It sees the residual on a grid and nothing else: neither A nor the geometry. On
    grids with solid cells use it through `Masked`; `Safeguarded` makes it safe for any
    weights. It works on grids of any size, but what it makes reaches
    `receptive_radius` cells far, so that steps grow with the size of the grid
    whatever the weights are.

    Args:
        architecture: "from64" or "from128", the networks that were published as
            trained on 64³ and 128³ cells.
        num_dimensions: axes of the grid, 1, 2 or 3.
        key: from which the weights are drawn, uniformly as Glorot and Bengio (2010);
            biases are zero.
        normalization: what r is divided by: "norm", ‖r‖₂, the paper's; "rms", ‖r‖₂ over
            the root of the number of cells, which keeps the ratio of signal and biases
            the same on all grids; or "none".
        inner_product: how the norm is computed, that of the solver.
        dtype: of the weights and of the computation; the result has that of r.

    Raises:
        TypeError: inner_product is something else.
        ValueError: an unknown name, or another number of axes.

    Cost: 22 and 61 thousand multiplications and additions per cell in 2-D and 3-D, 34
    and 92 thousand for "from128".

    Examples:
        >>> import jax, jax.numpy as jnp, krylax as kx
        >>> from krylax.learned import conjugate_directions as cd
        >>> net = cd.DeepConjugateDirection("from64", 2, key=jax.random.key(0))
        >>> cd.num_parameters(net), net.receptive_radius
        (32657, 22)
        >>> A, b = kx.operators.Laplacian((16, 16)), jnp.ones((16, 16))
        >>> solver = kx.solvers.FlexibleCG(rtol=1e-8, truncation=2)
        >>> sol = kx.solve(A, b, solver, preconditioner=cd.Safeguarded(net))
        >>> kx.Status(sol.status).name
        'converged'

    References:
        Kaneda et al., ICML 2023, PMLR 202:15720-15736.
    """

    stem: Convolution
    fine_before: tuple[Convolution, ...]
    coarse: tuple[Convolution, ...]
    fine_after: tuple[Convolution, ...]
    head: Convolution
    architecture: Architecture = eqx.field(static=True)
    num_dimensions: int = eqx.field(static=True)
    normalization: Normalization = eqx.field(static=True)
    inner_product: InnerProduct

    def __init__(
        self,
        architecture: Architecture = "from64",
        num_dimensions: int = 3,
        *,
        key: Key[Array, ""],
        normalization: Normalization = "norm",
        inner_product: InnerProduct = EUCLIDEAN,
        dtype: DTypeLike = jnp.float32,
    ) -> None:
        _require_choice(architecture, tuple(LAYOUTS), "architecture")
        _require_choice(num_dimensions, (1, 2, 3), "num_dimensions")
        _require_choice(normalization, get_args(Normalization), "normalization")
        require_inner_product(inner_product)
        layout = LAYOUTS[architecture]
        counts = [2 * pairs for pairs in layout]
        # The pair before pooling shares its first layer with the one that follows.
        counts[0] += 2
        keys = iter(jax.random.split(key, 2 + sum(counts)))

        def layer(size: int, inputs: int, outputs: int) -> Convolution:
            window = (size,) * num_dimensions
            cells = size**num_dimensions
            limit = (6 / (cells * (inputs + outputs))) ** 0.5
            shape = (*window, inputs, outputs)
            drawn = jax.random.uniform(
                next(keys), shape, jnp.dtype(dtype), -limit, limit
            )
            return Convolution(drawn, jnp.zeros(outputs, jnp.dtype(dtype)))

        def layers(count: int) -> tuple[Convolution, ...]:
            return tuple(layer(3, NUM_CHANNELS, NUM_CHANNELS) for _ in range(count))

        self.stem = layer(3, 1, NUM_CHANNELS)
        self.fine_before, self.coarse, self.fine_after = map(layers, counts)
        self.head = layer(1, NUM_CHANNELS, 1)
        self.architecture = architecture
        self.num_dimensions = int(num_dimensions)
        self.normalization = normalization
        self.inner_product = inner_product

    @property
    @override
    def in_structure(self) -> None:
        return None

    @property
    def receptive_radius(self) -> int:
        """How many cells far a cell of r changes the result, along an axis."""
        fine = 1 + len(self.fine_before) + len(self.fine_after)
        return fine + 2 * len(self.coarse) + 1

    @override
    def __call__(self, r: Any) -> Any:
        """Return a direction of search for the residual r on a grid.

        Raises:
            ValueError: r is no real array with `num_dimensions` axes.
        """
        r = _as_grid(r, self.num_dimensions)
        norm = self.inner_product.scaled_norm(r)
        unit = norm
        if self.normalization == "rms":
            unit = norm / self.inner_product.norm(jnp.ones_like(r))
        if self.normalization == "none":
            unit = jnp.ones_like(norm)
        unit = jnp.where(norm > 0, unit, 1)
        z = self._map((r / unit).astype(self.stem.weight.dtype)).astype(r.dtype)
        return jnp.where(norm > 0, unit, 0) * z

    def _map(self, r: Float[Array, "*grid"]) -> Float[Array, "*grid"]:
        grid = r.shape
        x = jnp.pad(r, [(0, size % 2) for size in grid])[..., None]
        first, *others, last = self.fine_before
        x = _layer(first, self.stem(x))
        fine = _layer(last, _pairs(others, x))
        coarse = _pairs(self.coarse, _pooled(fine))
        x = _pairs(self.fine_after, _copied(coarse) + fine)
        return self.head(x)[..., 0][tuple(map(slice, grid))]


def _layer(convolution: Convolution, x: Float[Array, "..."]) -> Float[Array, "..."]:
    return jax.nn.relu(convolution(x))


def _pairs(layers: Any, x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The sums x + c(c(x)) of consecutive pairs of layers."""
    for inner, outer in zip(layers[::2], layers[1::2], strict=True):
        x = x + _layer(outer, _layer(inner, x))
    return x


def _pooled(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """The means of blocks of 2^d cells."""
    for axis in range(x.ndim - 1):
        pairs = x.reshape(*x.shape[:axis], -1, 2, *x.shape[axis + 1 :])
        x = jnp.mean(pairs, axis=axis + 1)
    return x


def _copied(x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Each cell's value on its 2^d parts."""
    for axis in range(x.ndim - 1):
        x = jnp.repeat(x, 2, axis=axis)
    return x


def _as_grid(r: Any, num_dimensions: int) -> Float[Array, "..."]:
    if not isinstance(r, jax.Array) and not hasattr(r, "__array__"):
        raise ValueError(
            f"the network is for one real array, got {type(r).__name__}; select the "
            "array of the field in a function, by from_callable"
        )
    r = jnp.asarray(r)
    if r.ndim != num_dimensions or not jnp.issubdtype(r.dtype, jnp.floating):
        raise ValueError(
            f"the network is for real arrays with "
            f"{counted(num_dimensions, 'axis', 'axes')}, got "
            f"{r.dtype.name} of shape {r.shape}; make one with as many num_dimensions, "
            "or give it the real and the imaginary part"
        )
    return r


def _require_choice(value: Any, choices: tuple[Any, ...], name: str) -> None:
    if isinstance(value, bool | float) or value not in choices:
        listed = ", ".join(map(str, choices))
        raise ValueError(f"{name} must be one of {listed}; got {shown(value)}")

"""The published configurations of implicit factorised transformers, by name.

IFactFormer-m: H. Yang et al., arXiv 2412.18840, as its code is now. "first-release" is
that code as it was when the paper appeared: it normalised the values per index of the
first axis over the others and the channels, and had a second perceptron at the end of
the block. IFactFormer-o is that code with chained mixing, "HIT-o" the model of
isotropic turbulence in H. Yang, Z. Li, X. Wang, J. Wang, Theor. Appl. Mech. Lett. 2024,
of five frames and at most 25 iterations.

Differs from the source: how the second perceptron of "first-release" follows the first
is not described; here it is applied to what that one returns.
"""

from typing import Any, Literal

from jaxtyping import Array, DTypeLike, Key

from ...operators._arguments import shown
from ._ifactformer import IFactFormer

Name = Literal["IFactFormer-m", "IFactFormer-o", "HIT-o", "first-release"]

CONFIGURATIONS: dict[str, dict[str, Any]] = {
    "IFactFormer-m": {},
    "IFactFormer-o": {"mixing": "chained"},
    "HIT-o": {
        "mixing": "chained",
        "num_heads": 10,
        "head_width": 64,
        "num_frames": 5,
        "num_iterations": 25,
    },
    "first-release": {"norm": "slab", "num_output_mlps": 2},
}
"""What differs from the defaults of `IFactFormer`, which are those of IFactFormer-m."""


def from_paper(
    name: Name, *, key: Key[Array, ""], dtype: DTypeLike = "float32"
) -> IFactFormer:
    """Return a model of velocity in three dimensions with the published settings.

    Args:
        name: "IFactFormer-m" of 1,163,331 parameters, "IFactFormer-o" of 1,071,171,
            "HIT-o" of 1,396,803, or "first-release" of 1,181,763.
        key: from which the weights are drawn; trained ones are not shipped.
        dtype: of the weights and of the computation.

    Raises:
        ValueError: an unknown name.

    References:
        Yang et al., arXiv 2412.18840; Theor. Appl. Mech. Lett. 2024.
    """
    if name not in CONFIGURATIONS:
        raise ValueError(
            f"name must be one of {', '.join(CONFIGURATIONS)}; got {shown(name)}"
        )
    return IFactFormer(3, 3, 3, key=key, dtype=dtype, **CONFIGURATIONS[name])

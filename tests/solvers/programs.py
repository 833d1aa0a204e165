"""What a traced program does, read from its jaxpr, loops and branches included."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend.core import jaxprs_in_params


def equations(function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Every equation of the traced function, however deep."""
    return list(walk(jax.make_jaxpr(function)(*arguments).jaxpr))


def walk(jaxpr: Any) -> Iterator[Any]:
    """The equations of a jaxpr and of those inside it."""
    for equation in jaxpr.eqns:
        yield equation
        for inner in jaxprs_in_params(equation.params):
            yield from walk(inner)


def names(found: list[Any]) -> list[str]:
    """The names of the primitives."""
    return [equation.primitive.name for equation in found]

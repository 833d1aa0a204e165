"""Functions of a field alone, called like models, with a grid."""

import inspect
from collections.abc import Callable
from typing import Any

import equinox as eqx

from ._state import name_of


class WithoutGrid(eqx.Module):
    """A function of a field alone, called like a model."""

    function: Callable[[Any], Any]

    def __call__(self, x: Any, grid: Any = None) -> Any:
        """Return the function's value."""
        del grid
        return self.function(x)


class WithGridByName(eqx.Module):
    """A function whose grid is not its second argument, called like a model."""

    function: Callable[..., Any]

    def __call__(self, x: Any, grid: Any = None) -> Any:
        """Return the function's value."""
        return self.function(x, grid=grid)


def called_like_a_model(function: Callable[..., Any]) -> Any:
    """Return a function of a field, as it is or called by one of a grid too."""
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        # NumPy's and JAX's ufuncs have none.
        return WithoutGrid(function)
    if "grid" not in parameters:
        return WithoutGrid(function)
    kind, place = parameters["grid"].kind, list(parameters).index("grid")
    is_second = place == 1 and kind is not inspect.Parameter.KEYWORD_ONLY
    return function if is_second else WithGridByName(function)


def called(model: Any) -> Any:
    """Return what a model calls, if it is there for that alone, or the model."""
    return model.function if isinstance(model, WithoutGrid | WithGridByName) else model


def name_of_model(model: Any) -> str:
    """Return the name of the class of a model, or of the function that is one."""
    return name_of(called(model)).rpartition(".")[2].strip("<>")

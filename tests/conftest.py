import os
from collections.abc import Generator, Iterator
from typing import Any

import jax
import pytest

from .helpers import types_checked, types_unchecked
from .many_programs import reason

# Modules that run a table, and the parameter that names its rows.
TABLES = {
    "test_all_operators.py": "name",
    "test_all_solvers.py": "row",
    "test_all_preconditioners.py": "row",
}
# What a test may compile by itself; more is set-up that is better compiled once. Zero:
# not looked at.
MAX_PROGRAMS = int(os.environ.get("KRYLAX_MAX_PROGRAMS", "12"))

_num_compiled = 0


def _count(event: str, duration_secs: float, **_: Any) -> None:
    global _num_compiled
    del duration_secs
    _num_compiled += "backend_compile" in event


jax.monitoring.register_event_duration_secs_listener(_count)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    """Fail a test that compiles many programs, unless it is listed."""
    before = _num_compiled
    yield
    count = _num_compiled - before
    if 0 < MAX_PROGRAMS < count and reason(item.nodeid) is None:
        pytest.fail(
            f"compiles {count} programs, more than {MAX_PROGRAMS}: put what it "
            "computes into one jitted function or a fixture, read structures by "
            "jax.eval_shape, or name the test and its reason in tests/many_programs.py",
            pytrace=False,
        )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run a table row by row: the programs of a row can be dropped after it."""
    files = list(dict.fromkeys(item.path for item in items))
    rows = list(dict.fromkeys(_row(item) for item in items))
    file_places = {path: i for i, path in enumerate(files)}
    row_places = {row: i for i, row in enumerate(rows)}
    items.sort(key=lambda item: (file_places[item.path], row_places[_row(item)]))


def _row(item: pytest.Item) -> Any:
    """The row of a table that a test is about; None elsewhere."""
    parameters = getattr(item, "callspec", None)
    name = TABLES.get(item.path.name)
    return parameters.params.get(name) if parameters and name else None


@pytest.fixture
def with_types_checked() -> Iterator[None]:
    """With the check of shapes and types of every call, for the generic tables."""
    with types_checked():
        yield


@pytest.fixture
def as_users_run_it() -> Iterator[None]:
    """Without the check of shapes and types, so that the library's own are met."""
    with types_unchecked():
        yield

"""A tiny problem, and the tools that several tests of data sets share."""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import krylax as kx

Tree = dict[str, bytes]
# The calls through which a file or folder changes for good; those that may need space.
_GROWTH = ("fsync", "replace", "rename")
_CHANGES = (*_GROWTH, "unlink", "rmdir")


@pytest.fixture(scope="session")
def family() -> kx.datasets.Darcy:
    return kx.datasets.Darcy(num_points=(10, 8))


@pytest.fixture(scope="session")
def solver() -> Any:
    return kx.solvers.GCRODR(rtol=1e-8, restart=20, num_recycled=8)


@pytest.fixture(scope="session")
def generate(family: kx.datasets.Darcy, solver: Any) -> Callable[..., Any]:
    """Generates 8 samples in segments of 3 by default."""
    return partial(
        kx.datasets.generate,
        family,
        8,
        solver=solver,
        segment_size=3,
        progress=False,
    )


@pytest.fixture(scope="session")
def published(
    generate: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A finished data set that tests may read but not change."""
    path = tmp_path_factory.mktemp("published") / "darcy"
    generate(path=path)
    return path


@pytest.fixture(scope="session")
def tree() -> Callable[[Path], Tree]:
    """Reads a folder as {relative path: bytes}."""
    return lambda root: {
        path.relative_to(root).as_posix(): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


@pytest.fixture
def fail_at(
    monkeypatch: pytest.MonkeyPatch,
) -> Callable[[int, BaseException], list[str]]:
    """Makes the n-th change of the file system raise; returns the calls so far."""

    def install(n: int, error: BaseException) -> list[str]:
        calls: list[str] = []

        def counted(name: str, real: Callable[..., Any], *args: Any, **kw: Any) -> Any:
            calls.append(name)
            if len(calls) == n:
                raise error
            return real(*args, **kw)

        names = _GROWTH if isinstance(error, OSError) else _CHANGES
        for name in names:
            monkeypatch.setattr(os, name, partial(counted, name, getattr(os, name)))
        return calls

    return install

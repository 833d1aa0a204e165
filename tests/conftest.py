from collections.abc import Iterator

import pytest

from ..helpers import types_unchecked


@pytest.fixture
def as_users_run_it() -> Iterator[None]:
    """Without the type-checking hook, so that the library's own checks are met."""
    with types_unchecked():
        yield

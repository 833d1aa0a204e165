from collections.abc import Iterator

import pytest

from .helpers import types_unchecked


@pytest.fixture
def as_users_run_it() -> Iterator[None]:
    """Without the type-checking hook, so that the library's own checks are met.

    Also for modules that run a table of rows: the hook takes a quarter of their time,
    and each row has tests of its own with it.
    """
    with types_unchecked():
        yield

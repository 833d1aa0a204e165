"""Tests that may compile more programs than others, and why.

`KRYLAX_MAX_PROGRAMS=12 make test` fails any other test that compiles more. What
fixtures compile does not count.
"""

ALLOWED: dict[str, str] = {}
"""By the part of a test's id before its parameters, or by its file or folder."""


def reason(nodeid: str) -> str | None:
    """Return why a test may compile many programs; None if it may not."""
    name = nodeid.split("[")[0]
    parts = name.replace("::", "/").split("/")
    for end in range(len(parts), 0, -1):
        for key, why in ALLOWED.items():
            if key.replace("::", "/") == "/".join(parts[:end]):
                return why
    return None

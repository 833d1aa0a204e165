"""Progress on terminals and in logs; imports that stay light."""

import io
import subprocess
import sys

import pytest

from krylax.datasets.generation._progress import _LogLines, progress


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_a_line_every_half_minute(
    capsys: pytest.CaptureFixture[str],
) -> None:
    times = iter([0.0, 10.0, 31.0, 40.0, 65.0, 70.0])
    lines = _LogLines(100, 20, clock=lambda: next(times))
    for _ in range(4):
        lines.update(10)
    lines.close()
    printed = capsys.readouterr().err.splitlines()
    assert printed == [
        "krylax: 20 of 100 systems solved before",
        "krylax: 40/100, 0.645/s, 93 s left",
        "krylax: 60/100, 0.615/s, 65 s left",
        "krylax: 40 systems solved in 70.0 s",
    ]


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    bar = progress(10, 4, enabled=True)
    bar.update(6)
    bar.close()
    assert "10/10" in terminal.getvalue()


def test_silence_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    quiet = progress(10, 0, enabled=False)
    quiet.update(10)
    quiet.close()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize("module", ["krylax.datasets", "krylax.cli"])
def test_importing_is_light(module: str) -> None:
    heavy = ["jax", "equinox", "zarr", "matplotlib", "scipy.fft", "tqdm"]
    code = (
        f"import sys, {module}; print([m for m in {heavy} if m in sys.modules], end='')"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    assert result.stdout == "[]"

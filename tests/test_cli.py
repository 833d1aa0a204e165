"""The command line, called as the console script calls it."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import krylax as kx
from krylax.cli import main

TINY = ["--num-points", "8", "8", "--restart", "20", "--num-recycled", "8"]
Captured = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Undoes what `main` does to the environment."""
    for name in ("OPENBLAS_NUM_THREADS", "NPROC"):
        monkeypatch.setenv(name, "1")


@pytest.fixture
def darcy(tmp_path: Path, capsys: Captured) -> Path:
    """A data set of four samples, made by the command line."""
    path = tmp_path / "darcy8"
    arguments = ["generate", "darcy", "--num-samples", "4", *TINY, "--out", str(path)]
    assert main(arguments) == 0
    capsys.readouterr()
    return path


@pytest.fixture
def toml(tmp_path: Path) -> Callable[[str], str]:
    def write(text: str) -> str:
        path = tmp_path / "run.toml"
        path.write_text(text)
        return str(path)

    return write


@pytest.mark.slow
def test_the_line_of_the_readme_works(tmp_path: Path) -> None:
    line = "generate darcy --num-samples 3 --num-points 64 64 --out darcy64"
    script = "import sys; from krylax.cli import main; sys.exit(main())"
    result = subprocess.run(
        [sys.executable, "-c", script, *line.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    assert len(kx.datasets.open_dataset(tmp_path / "darcy64")) == 3


def test_generate_ends_with_a_summary(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "darcy8"
    main(["generate", "darcy", "--num-samples", "4", *TINY, "--out", str(path)])
    printed = capsys.readouterr()
    for text in ("4 certified, 0 failed", "ms per system", "steps", f"preview {path}"):
        assert text in printed.out
    assert "krylax: 4 systems solved in" in printed.err


def test_the_command_line_and_python_publish_the_same_bytes(
    darcy: Path, tmp_path: Path
) -> None:
    kx.datasets.generate(
        kx.datasets.Darcy(num_points=(8, 8)),
        num_samples=4,
        path=tmp_path / "python",
        solver=kx.solvers.GCRODR(rtol=1e-8, restart=20, num_recycled=8),
        progress=False,
    )
    ours, theirs = (p / "manifest.json" for p in (darcy, tmp_path / "python"))
    assert ours.read_text() == theirs.read_text()


def test_the_released_operator_can_be_generated(tmp_path: Path) -> None:
    path = tmp_path / "skr"
    command = ["generate", "skr-released", "--num-samples", "2", "--num-points", "8"]
    assert main([*command, "--out", str(path)]) == 0
    assert kx.datasets.verify(path).ok


@pytest.mark.parametrize("spelling", ["log-normal", "log_normal"])
def test_both_spellings_of_a_choice_are_understood(
    tmp_path: Path, spelling: str
) -> None:
    options = ["--num-samples", "1", "--coefficient", spelling, *TINY]
    assert main(["generate", "darcy", *options, "--out", str(tmp_path / "a")]) == 0
    family = kx.datasets.open_dataset(tmp_path / "a").family
    assert family == kx.datasets.Darcy(num_points=(8, 8), coefficient="log_normal")


def test_a_dry_run_writes_nothing(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "darcy8"
    arguments = ["generate", "darcy", "--num-samples", "1000", *TINY, "--dry-run"]
    assert main([*arguments, "--out", str(path)]) == 0
    printed = capsys.readouterr().out
    assert "size: " in printed
    assert "ms per system" in printed
    assert " 0.0 " not in printed
    assert list(tmp_path.iterdir()) == []


def test_options_win_over_the_file(tmp_path: Path, toml: Callable[[str], str]) -> None:
    text = (
        "num-samples = 3\nnum_points = [8, 8]\nseed = 5\nresume = true\nrtol = 1e-6\n"
    )
    path = tmp_path / "a"
    arguments = ["generate", "darcy", "--config", toml(text), "--out", str(path)]
    assert main([*arguments, "--num-samples", "2"]) == 0
    dataset = kx.datasets.open_dataset(path)
    assert len(dataset) == 2
    assert dataset.configuration["solver"]["rtol"] == 1e-6
    assert dataset.family == kx.datasets.Darcy(num_points=(8, 8), seed=5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("num_sampels = 3", "did you mean 'num_samples'?"),
        ("zzz = 3", "unknown key 'zzz' for darcy"),
        ("num_samples = ", "not valid TOML"),
        ("[seed]\nx = 1", "not a table"),
        ('num_samples = "3"', "run.toml: 'num_samples' must be an integer, got '3'"),
        ("num_samples = true", "run.toml: 'num_samples' must be an integer, got True"),
        ("rtol = [1e-6]", "run.toml: 'rtol' must be a number, got [1e-06]"),
        ("num_points = [8.5]", "'num_points' must be a list, each an integer, got"),
        ("resume = 1", "run.toml: 'resume' must be true or false, got 1"),
        ('method = "fast"', "'method' must be one of 'plan', 'recycle', got 'fast'"),
        ("[family]\nseed = 1", "'family' must be a value, not a table; keys are flat"),
    ],
)
def test_a_bad_file_is_refused(
    tmp_path: Path,
    capsys: Captured,
    toml: Callable[[str], str],
    text: str,
    message: str,
) -> None:
    arguments = ["generate", "darcy", f"--config={toml(text)}", "--out", "x"]
    assert main(arguments) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_is_no_text_is_named(tmp_path: Path, capsys: Captured) -> None:
    path = tmp_path / "a.toml"
    path.write_bytes(b"\xff\xfe")
    assert main(["generate", "darcy", f"--config={path}", "--out", "x"]) == 2
    assert f"{path} is not valid TOML" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--num-points", "2", "8"], "num_points must be"),
        (["--stream", "../up"], "stream must be"),
        (["--num-samples", "0"], "num_samples must be"),
        (["--rtol", "1e-30"], "rtol"),
        (["--restart", "8", "--num-recycled", "8"], "restart"),
        (["--config", "nowhere.toml"], "nowhere.toml"),
    ],
)
def test_bad_options_are_one_clear_line(
    tmp_path: Path, capsys: Captured, arguments: list[str], message: str
) -> None:
    command = ["generate", "darcy", "--num-samples", "2", "--out", str(tmp_path / "a")]
    code = _exit_code([*command, *arguments])
    assert code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("options", [["--num-samples"], ["--num-sample", "3"], ["--x"]])
def test_a_wrong_command_line_exits_with_2(
    capsys: Captured, options: list[str]
) -> None:
    assert _exit_code(["generate", "darcy", "--out", "a", *options]) == 2
    capsys.readouterr()


def test_another_configuration_is_refused_with_the_difference(
    darcy: Path, capsys: Captured
) -> None:
    command = ["generate", "darcy", "--num-samples", "5", *TINY, "--out", str(darcy)]
    assert main(command) == 2
    assert "num_samples: 4 -> 5" in capsys.readouterr().err


def test_ctrl_c_says_how_to_continue(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(kx.datasets, "generate", interrupted)
    command = ["generate", "darcy", "--num-samples", "2", "--out", str(tmp_path / "a")]
    assert main(command) == 130
    assert "same command again" in capsys.readouterr().err


def start(*arguments: str) -> subprocess.Popen[str]:
    """The command as a shell starts it: in a process group of its own."""
    script = "import sys; from krylax.cli import main; sys.exit(main())"
    # Tests that run in the background of a shell ignore Ctrl-C. A new process inherits
    # that, but no handler; `preexec_fn` would fork, which JAX warns of.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        return subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def test_ctrl_c_is_answered_while_the_packages_are_read(tmp_path: Path) -> None:
    process = start("generate", "darcy", "--num-samples", "9", "--out", f"{tmp_path}/a")
    _wait_for_the_handler(process.pid)
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.startswith("krylax: error: interrupted; nothing committed is lost")
    assert said.count("\n") == 1


@pytest.mark.slow
def test_sigterm_ends_the_workers_and_keeps_what_is_committed(tmp_path: Path) -> None:
    options = ["--num-points", "16", "16", "--method", "recycle"]
    options += ["--segment-size", "16", "--num-workers", "2", "--ordering", "none"]
    path = tmp_path / "a"
    command = ["generate", "darcy", "--num-samples", "100000", *options, "--out"]
    process = start(*command, str(path))
    while not list((tmp_path / "a.partial" / "commits").glob("*.json")):
        assert process.poll() is None
        time.sleep(0.05)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == 143
    lines = said.splitlines()
    assert lines[-1].startswith("krylax: error: terminated; nothing committed is lost")
    assert all(line.startswith("krylax: ") for line in lines)
    with pytest.raises(ProcessLookupError):
        _wait_for_the_end_of_group(process.pid)


def _wait_for_the_handler(number: int) -> None:
    """Until the process answers to SIGTERM, as Python by itself does not."""
    status = Path(f"/proc/{number}/status")
    if not status.exists():
        time.sleep(1)
        return
    caught = 0
    while not caught & 1 << signal.SIGTERM - 1:
        (line,) = (s for s in status.read_text().splitlines() if "SigCgt" in s)
        caught = int(line.split()[1], 16)
        time.sleep(0.005)


def _wait_for_the_end_of_group(number: int) -> None:
    for _ in range(100):
        os.killpg(number, 0)
        time.sleep(0.05)


def test_a_full_disk_exits_with_1(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 1000})
    monkeypatch.setattr("shutil.disk_usage", lambda folder: usage)
    command = ["generate", "darcy", "--num-samples", "2", *TINY]
    assert main([*command, "--out", str(tmp_path / "a")]) == 1
    assert "disk full: 0 of 2 samples committed" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("max_steps", "code", "message"),
    [
        ("2", 1, "krylax: error: every sample failed (2 max_steps_reached"),
        ("17", 3, "krylax: warning: 1 of 2 samples of "),
    ],
)
def test_failed_samples_show_in_the_exit_code(
    tmp_path: Path, capsys: Captured, max_steps: str, code: int, message: str
) -> None:
    path = tmp_path / "a"
    command = ["generate", "darcy", "--num-samples", "2", *TINY, "--out", str(path)]
    command += ["--max-steps", max_steps]
    assert main(command) == code
    assert message in capsys.readouterr().err
    assert path.exists() == (code == 3)
    assert main([*command, "--allow-failures"]) == 0
    assert capsys.readouterr().err.count("krylax: warning") == 0


def test_info_prints_configuration_statistics_and_versions(
    darcy: Path, capsys: Captured
) -> None:
    assert main(["info", str(darcy)]) == 0
    printed = capsys.readouterr().out
    for text in ("Darcy(num_points=[8, 8]", "worst true relative residual", "jax  "):
        assert text in printed


def test_preview_writes_a_picture(
    darcy: Path, tmp_path: Path, capsys: Captured
) -> None:
    picture = tmp_path / "look.png"
    command = ["preview", str(darcy), "--num-samples", "1", "--out", str(picture)]
    assert main(command) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert f"wrote {picture}" in capsys.readouterr().out


def test_verify_tells_good_from_bad(darcy: Path, capsys: Captured) -> None:
    assert main(["verify", str(darcy)]) == 0
    assert "all well" in capsys.readouterr().out
    (darcy / "README.md").write_text("nothing")
    assert main(["verify", str(darcy)]) == 1
    assert "file README.md: its bytes have changed" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["info", "preview", "verify"])
def test_a_missing_data_set_is_an_error(
    tmp_path: Path, capsys: Captured, command: str
) -> None:
    assert main([command, str(tmp_path / "none")]) == 2
    assert "there is no data set" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments", [[], ["generate"], ["generate", "darcy"], ["verify"]]
)
def test_help_is_printed(capsys: Captured, arguments: list[str]) -> None:
    assert _exit_code([*arguments, "--help"]) == 0
    assert "usage: krylax" in capsys.readouterr().out


def _exit_code(arguments: list[str]) -> int | str | None:
    try:
        return main(arguments)
    except SystemExit as stop:
        return stop.code

"""Where and with what a case was measured, and how processes are held to some cores."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

PACKAGES = ("krylax", "jax", "jaxlib", "lineax", "solvax", "numpy", "scipy", "pyamg")
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def environment(num_cores: int) -> dict[str, str]:
    """Return environment variables that hold every package to as many threads."""
    # A persistent cache would hide what compilation costs.
    kept = {k: v for k, v in os.environ.items() if k != "JAX_COMPILATION_CACHE_DIR"}
    threads = {name: str(num_cores) for name in THREAD_VARIABLES}
    return kept | threads | {"JAX_PLATFORMS": "cpu"}


def available_cores() -> list[int]:
    """Return the numbers of the cores that this process may use (Linux)."""
    return sorted(os.sched_getaffinity(0))


def describe_machine() -> dict[str, Any]:
    """Return processor, memory, system and load."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(memory / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "load": os.getloadavg()[0],
    }


def versions(*more: str) -> dict[str, str | None]:
    """Return versions of the packages, and of more; None where one is not installed."""
    return {name: _version(name) for name in (*PACKAGES, *more)}


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.split(":", 1)[1] for line in lines if line.startswith("model name")]
    return names[0].strip() if names else platform.processor()

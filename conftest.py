import ctypes
import gc
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

# Compilation takes most of the suite's time, which these flags more than halve; they
# leave alone all that XLA does above single kernels. `XLA_FLAGS= make test` has none.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0 "
    "--xla_llvm_disable_expensive_passes=true --xla_cpu_parallel_codegen_split_count=1",
)

import jax
import jaxtyping
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
# Checking shapes and types in every call takes a fifth of the time; the tables of all
# operators, solvers and preconditioners turn it on.
jaxtyping.config.update("jaxtyping_disable", True)
# Where in the source an operation comes from, which programs need not know.
jax.config.update("jax_traceback_in_locations_limit", 0)


# A compiled program keeps memory and some memory maps; a process that has more of these
# than Linux allows (vm.max_map_count, 65530) is killed.
MAX_MAPS = 30_000
MAX_GIGABYTES = 2.5
LEAST_GAIN = 0.5


class _Memory:
    """Drops compiled programs where they take too much, and gives the memory back."""

    limit = MAX_GIGABYTES

    def watch(self) -> None:
        """Look after a test; what is left after dropping may not be programs."""
        if self.gigabytes() > self.limit:
            self.drop()
            self.limit = max(MAX_GIGABYTES, self.gigabytes() + LEAST_GAIN)

    def watch_maps(self) -> None:
        """Look after a module: counting takes longer."""
        maps = Path("/proc/self/maps")
        if not maps.exists() or maps.read_bytes().count(b"\n") > MAX_MAPS:
            self.drop()

    @staticmethod
    def gigabytes() -> float:
        """The resident memory; 0 where Linux does not say."""
        statm = Path("/proc/self/statm")
        pages = int(statm.read_text().split()[1]) if statm.exists() else 0
        return pages * os.sysconf("SC_PAGE_SIZE") / 1e9

    @staticmethod
    def drop() -> None:
        """Drop all compiled programs; glibc keeps freed memory until it is asked."""
        jax.clear_caches()
        gc.collect()
        with suppress(OSError, AttributeError):
            ctypes.CDLL("libc.so.6").malloc_trim(0)


_memory = _Memory()


def pytest_collection_finish() -> None:
    """Collect garbage seldom: tracing makes much, and what is imported is none."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 20, 100)


@pytest.fixture(autouse=True)
def _watch_memory() -> Iterator[None]:
    yield
    _memory.watch()


@pytest.fixture(autouse=True, scope="module")
def _watch_maps() -> Iterator[None]:
    yield
    _memory.watch_maps()


@pytest.fixture
def getkey():
    """Random keys, the same in every run of a test."""
    keys = iter(jax.random.split(jax.random.key(2310), 100))
    return lambda: next(keys)

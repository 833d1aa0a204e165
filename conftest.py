import os
from pathlib import Path

# Compilation takes most of the suite's time, which these flags more than halve; they
# leave alone all that XLA does above single kernels. `XLA_FLAGS= make test` has none.
os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_cpu_use_fusion_emitters=false --xla_backend_optimization_level=0 "
    "--xla_llvm_disable_expensive_passes=true --xla_cpu_parallel_codegen_split_count=1",
)

import jax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")
# Where in the source an operation comes from, which programs need not know.
jax.config.update("jax_traceback_in_locations_limit", 0)


# A compiled program keeps some memory maps; a process that has more than Linux allows
# (vm.max_map_count, 65530) is killed, which the suite in one process comes near to.
MAX_MAPS = 30_000


@pytest.fixture(autouse=True, scope="module")
def _forget_programs():
    """Drop compiled programs, from time to time, where they might become too many."""
    yield
    maps = Path("/proc/self/maps")
    if not maps.exists() or maps.read_bytes().count(b"\n") > MAX_MAPS:
        jax.clear_caches()


@pytest.fixture
def getkey():
    """Random keys, the same in every run of a test."""
    keys = iter(jax.random.split(jax.random.key(2310), 100))
    return lambda: next(keys)

import jax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture
def getkey():
    """Random keys, the same in every run of a test."""
    keys = iter(jax.random.split(jax.random.key(2310), 100))
    return lambda: next(keys)

"""One small channel, and one flow in it that has run for a while."""

import jax
import pytest

from krylax.datasets import channel_flow


@pytest.fixture(scope="session")
def flow() -> channel_flow.Channel:
    return channel_flow.Channel(180, (8, 12, 6), sample_every=2)


@pytest.fixture(scope="session")
def state(flow: channel_flow.Channel) -> channel_flow.State:
    return flow.run(flow.initial(jax.random.key(0), amplitude=3.0), 20)

"""The server that most rows of this folder share: each hurts it, has the oracle judge it, and leaves it serving."""

from collections.abc import Iterator

import pytest

from tests.faults.running import FaultyServer
from tests.faults.scenarios import Site


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """A running server with its ledger, traffic and oracle."""
    with FaultyServer(tmp_path_factory.mktemp("faults")) as server:
        yield Site(server, seed=2)

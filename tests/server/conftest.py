"""The server that most tests of this folder share."""

from collections.abc import Iterator

import pytest

from tests.server.running import Server, serving, write_config


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A running server with the starter configuration and no model; tests leave it serving."""
    with serving(write_config(tmp_path_factory.mktemp("server"))) as running:
        yield running

"""Where fronts and engine meet: any directory will do, nobody else gets in, and a dead engine is in nobody's way."""

from pathlib import Path

from riskengine.engine.sockets import connect, listen


def test_socket_works_in_a_directory_of_any_length_and_is_private(tmp_path: Path) -> None:
    """Goal: no data directory is too deep for a Unix address. Method: one of 300 characters; look at the mode."""
    deep = tmp_path / ("a" * 150) / ("b" * 150)
    deep.mkdir(parents=True)
    listener = listen(deep)
    with listener, connect(deep) as connection:
        listener.setblocking(True)
        accepted, _ = listener.accept()
        with accepted:
            accepted.sendall(b"x")
            connection.setblocking(True)

            assert b"x" == connection.recv(1)
    assert 0o600 == (deep / "engine.sock").stat().st_mode & 0o777


def test_new_engine_replaces_the_socket_of_a_dead_one(tmp_path: Path) -> None:
    """Goal: kill -9 leaves nothing that stops a restart. Method: listen twice."""
    listen(tmp_path).close()
    with listen(tmp_path), connect(tmp_path) as connection:
        assert connection.fileno() >= 0

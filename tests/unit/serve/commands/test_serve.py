import socket

from serve.commands.serve import _usable_port


def test_a_port_that_is_taken_is_left_to_who_has_it() -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = int(taken.getsockname()[1])
        assert 0 < _usable_port(port) - port < 400
    assert _usable_port(port) == port

"""Why a port cannot be used."""

import socket

from holdfast.cli.embedded.ports import why_not


def test_the_cause_says_why_a_port_cannot_be_used() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert "in use by another process" in why_not(other.getsockname()[1])
    assert why_not(0) == ""

import asyncio
import socket
from asyncio import base_events

import pytest

from deployments.experts.nodelay import send_at_once


async def accepted_nodelay() -> int:
    """TCP_NODELAY of a connection that a server accepts on a socket that does not name its protocol."""
    found: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        sock = writer.get_extra_info("socket")
        found.set_result(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listening.bind(("127.0.0.1", 0))
    async with await asyncio.start_server(answer, sock=listening):
        _, writer = await asyncio.open_connection(*listening.getsockname())
        nodelay = await found
        writer.close()
    return nodelay


def test_accepted_connections_send_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    before = base_events._set_nodelay  # type: ignore[attr-defined]
    monkeypatch.setattr(base_events, "_set_nodelay", before)
    assert asyncio.run(accepted_nodelay()) == 0
    send_at_once()
    assert asyncio.run(accepted_nodelay()) != 0

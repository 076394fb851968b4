import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import pytest

from loadtests.connection import Connection

REQUEST = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n"
BODY = b'{"choices":[{"message":{"content":"seven"}}]}'


@contextlib.asynccontextmanager
async def server(answer: Callable[[asyncio.StreamWriter], object]) -> AsyncIterator[Connection]:
    """A server that answers each request by writing bytes just as it is told, and a connection to it."""

    open_ones: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        open_ones.add(asyncio.current_task())
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while not writer.is_closing():
                await reader.readuntil(b"\r\n\r\n")
                result = answer(writer)
                if asyncio.iscoroutine(result):
                    await result
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

    started = await asyncio.start_server(serve, "127.0.0.1", 0)
    connection = Connection(*started.sockets[0].getsockname()[:2])
    try:
        yield connection
    finally:
        connection.close()
        started.close()
        await asyncio.gather(*open_ones)


async def test_a_body_of_known_length():
    def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nX-Number: 7\r\nContent-Length: %d\r\n\r\n" % len(BODY) + BODY)

    async with server(answer) as connection:
        first, second = await connection.ask(REQUEST), await connection.ask(REQUEST)
    assert (first.status, first.headers["x-number"], first.body) == (200, "7", BODY)
    assert second.body == BODY
    assert first.started_s < first.first_content_s <= first.ended_s < second.ended_s


async def test_a_chunked_body_in_single_bytes():
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (BODY[:10], BODY[10:])) + b"0\r\n\r\n"

    async def answer(writer: asyncio.StreamWriter) -> None:
        for byte in b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks:
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0)

    async with server(answer) as connection:
        assert (await connection.ask(REQUEST)).body == BODY
        assert (await connection.ask(REQUEST)).body == BODY


async def test_first_content_is_not_the_role_event():
    async def answer(writer: asyncio.StreamWriter) -> None:
        def event(text: bytes) -> bytes:
            data = b'data: {"choices":[{"delta":{"content":"%s"}}]}\n\n' % text
            return b"%x\r\n%s\r\n" % (len(data), data)

        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + event(b""))
        await asyncio.sleep(0.1)
        writer.write(event(b"7"))
        await asyncio.sleep(0.1)
        writer.write(b"0\r\n\r\n")

    async with server(answer) as connection:
        seen = await connection.ask(REQUEST)
    assert seen.first_content_s - seen.started_s >= 0.09
    assert seen.ended_s - seen.first_content_s >= 0.09


async def test_a_body_that_ends_with_the_connection():
    def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + BODY)
        writer.close()

    async with server(answer) as connection:
        assert (await connection.ask(REQUEST)).body == BODY
        assert (await connection.ask(REQUEST)).body == BODY


@pytest.mark.parametrize("sent", [b"", b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{"])
async def test_a_connection_that_breaks_is_an_error_and_the_next_request_opens_another(sent):
    def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(sent)
        writer.close()

    async with server(answer) as connection:
        for _ in range(2):
            with pytest.raises(ConnectionError):
                await connection.ask(REQUEST)

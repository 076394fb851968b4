from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from deployments import http_pool
from deployments.http_connection import Answer, ConnectionEndedError
from deployments.http_pool import ConnectionPool

Talk = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Serve = Callable[..., Awaitable[str]]

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts a server that does with each connection what it is told, and gives its URL."""
    servers: list[asyncio.Server] = []

    async def start(talk: Talk, *, tls: ssl.SSLContext | None = None) -> str:
        async def whole(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                await talk(reader, writer)
            except (ConnectionError, asyncio.IncompleteReadError):
                pass
            finally:
                writer.close()

        server = await asyncio.start_server(whole, "127.0.0.1", 0, ssl=tls)
        servers.append(server)
        return f"{'https' if tls else 'http'}://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"

    yield start
    for server in servers:
        server.close()


@pytest.fixture
async def pool() -> AsyncIterator[ConnectionPool]:
    pool = ConnectionPool(connect_timeout_s=1.0)
    yield pool
    await pool.close()


async def head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


def always(answer: bytes) -> Talk:
    """Answers every request of a connection alike, then hangs up if the answer says so."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await head(reader)
            writer.write(answer)
            await writer.drain()
            if b"connection: close" in answer:
                return

    return talk


async def get(pool: ConnectionPool, url: str, path: str = "/x", method: str = "GET", **headers: str) -> Answer:
    return await pool.send(method, url, path, headers, b"")


async def body(pool: ConnectionPool, url: str, **options: Any) -> bytes:
    with closing(await get(pool, url, **options)) as answer:
        return await answer.read()


async def test_a_connection_serves_one_request_after_the_other(serve: Serve, pool: ConnectionPool) -> None:
    connections = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await always(OK)(reader, writer)

    url = await serve(talk)
    assert [await body(pool, url) for _ in range(3)] == [b"ok"] * 3
    assert len(connections) == 1
    first, second = await get(pool, url), await get(pool, url)
    assert len(connections) == 2, "two at a time need two"
    first.close()
    second.close()


async def test_what_is_sent(serve: Serve, pool: ConnectionPool) -> None:
    seen = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await head(reader) + await reader.readexactly(2))
        writer.write(OK)

    url = await serve(talk)
    with closing(await pool.send("POST", url, "/a b?x=%20", {"x-a": "ä"}, b"{}")) as answer:
        assert (answer.status, await answer.read()) == (200, b"ok")
    authority = url.removeprefix("http://").removesuffix("/v1")
    expected = f"POST /v1/a%20b?x=%20 HTTP/1.1\r\nhost: {authority}\r\nx-a: ä\r\ncontent-length: 2\r\n\r\n{{}}"
    assert seen == [expected.encode("latin-1")]
    with pytest.raises(ValueError, match="end of a line"):
        await pool.send("POST", url, "/", {"authorization": "Bearer key\n"}, b"")


async def test_a_connection_that_was_closed_while_idle_is_replaced(serve: Serve, pool: ConnectionPool) -> None:
    closed = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(OK)
        await head(reader)  # the second request on the same connection is not answered
        closed.set()

    url = await serve(talk)
    assert await body(pool, url) == b"ok"
    assert await body(pool, url) == b"ok"
    assert closed.is_set()


async def test_an_answer_that_has_begun_is_not_asked_for_again(serve: Serve, pool: ConnectionPool) -> None:
    calls = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        calls.append(await head(reader))
        writer.write(b"HTTP/1.1 200 O")

    with pytest.raises(ConnectionEndedError):
        await get(pool, await serve(talk))
    assert len(calls) == 1


async def test_connection_close_is_obeyed(serve: Serve, pool: ConnectionPool) -> None:
    url = await serve(always(OK.replace(b"content", b"connection: close\r\ncontent")))
    assert [await body(pool, url) for _ in range(2)] == [b"ok"] * 2


async def test_an_answer_that_was_not_read_ends_its_connection(serve: Serve, pool: ConnectionPool) -> None:
    gone = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")
        await writer.drain()
        await reader.read()
        gone.set()

    answer = await get(pool, await serve(talk))
    assert await answer.chunk() == b"half"
    answer.close()
    await asyncio.wait_for(gone.wait(), 2)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\nhalf\r\n",
    ],
)
async def test_a_body_that_breaks_off_is_an_error(serve: Serve, pool: ConnectionPool, answer: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(answer)

    url = await serve(talk)
    with pytest.raises(ConnectionEndedError):
        await body(pool, url)
    with closing(await get(pool, url)) as broken:
        assert await broken.chunk() == b"half", "what came is not lost"
        with pytest.raises(ConnectionEndedError):
            await broken.chunk()


async def test_a_body_may_end_with_its_connection(serve: Serve, pool: ConnectionPool) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nall ")
        await writer.drain()
        await asyncio.sleep(0.01)
        writer.write(b"of it")

    assert await body(pool, await serve(talk)) == b"all of it"


async def test_announcements_are_passed_over(serve: Serve, pool: ConnectionPool) -> None:
    early = b"HTTP/1.1 103 Early Hints\r\nx-early: 1\r\n\r\n"
    with closing(await get(pool, await serve(always(early + OK)))) as answer:
        assert (answer.status, answer.header("x-early"), await answer.read()) == (200, None, b"ok")


async def test_head_has_no_body(serve: Serve, pool: ConnectionPool) -> None:
    url = await serve(always(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"))
    for _ in range(2):
        with closing(await get(pool, url, method="HEAD")) as answer:
            assert (answer.header("content-length"), await answer.read()) == ("2", b"")


@pytest.mark.parametrize(
    "nonsense", [b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 101 S\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n"]
)
async def test_what_is_not_http_is_an_error(serve: Serve, pool: ConnectionPool, nonsense: bytes) -> None:
    with pytest.raises(ConnectionEndedError):
        await body(pool, await serve(always(nonsense)))


async def test_lines_come_whole(serve: Serve, pool: ConnectionPool) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        for part in (b"on", b"e\ntw", b"o\n\nth", b"ree"):
            writer.write(b"%x\r\n%s\r\n" % (len(part), part))
            await writer.drain()
            await asyncio.sleep(0.005)
        writer.write(b"0\r\n\r\n")

    with closing(await get(pool, await serve(talk))) as answer:
        assert [line async for line in answer.lines()] == [b"one\n", b"two\n", b"\n", b"three"]


async def test_a_slow_reader_slows_the_sender_down(serve: Serve, pool: ConnectionPool) -> None:
    part, parts, sent = b"x" * 1024 * 1024, 64, 0

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (len(part) * parts))
        for _ in range(parts):
            writer.write(part)
            await writer.drain()
            sent += 1

    with closing(await get(pool, await serve(talk))) as answer:
        await asyncio.sleep(0.2)
        assert sent < parts / 2
        size = 0
        async for chunk in answer.chunks():
            size += len(chunk)
    assert size == len(part) * parts


async def test_a_connection_must_come_about_in_time(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*args: Any, **options: Any) -> None:
        await asyncio.sleep(60)

    monkeypatch.setattr(asyncio.get_running_loop(), "create_connection", never)
    with pytest.raises(ConnectionError, match=r"within 0\.05 s") as caught:
        await get(ConnectionPool(connect_timeout_s=0.05), "http://127.0.0.1:9/v1")
    assert not isinstance(caught.value, TimeoutError), "a deadline is something else"


async def test_tls(serve: Serve, pool: ConnectionPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certificate = certified(tmp_path)
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate)
    url = await serve(always(OK), tls=server)
    with pytest.raises(ssl.SSLCertVerificationError):
        await body(pool, url)
    monkeypatch.setattr(http_pool, "_tls", lambda: ssl.create_default_context(cafile=certificate))
    assert [await body(pool, url) for _ in range(2)] == [b"ok"] * 2


def certified(folder: Path) -> Path:
    """A key and a certificate for 127.0.0.1 that nobody has signed."""
    from ipaddress import ip_address

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "expert")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path = folder / "expert.pem"
    path.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    return path

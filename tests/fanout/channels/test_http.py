"""The HTTP client against real sockets: what is refused, what is bounded, and what each failure is called."""

from __future__ import annotations

import asyncio
import gzip
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from fanout.channels import http
from fanout.channels.http import MAX_ANSWER, Answer, Broken, Forbidden, Http, Unreached, url_fault

Serve = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def server(serve: Serve, tls: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """A bare TCP server that hands each request's head to `serve`; its port."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await serve(await reader.readuntil(b"\r\n\r\n"), writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    started = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    async with started:
        yield started.sockets[0].getsockname()[1]


def saying(answer: bytes) -> Serve:
    async def serve(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    return serve


async def post(port: int, *, timeout: float = 2.0) -> http.Result:
    async with asyncio.timeout(10), Http(allow_private=True, timeout=timeout) as client:
        return await client.post(f"http://127.0.0.1:{port}/x", headers={"Content-Type": "text/plain"}, body=b"hello")


async def test_an_answer_is_given_as_it_came() -> None:
    async with server(saying(b"HTTP/1.1 201 Created\r\nLocation: /y\r\nContent-Length: 2\r\n\r\nok")) as port:
        found = await post(port)
    assert isinstance(found, Answer)
    assert (found.status, found.body, found.headers["location"]) == (201, b"ok", "/y")


async def test_basic_credentials_and_the_body_are_sent() -> None:
    heads: list[bytes] = []

    async def serve(head: bytes, writer: asyncio.StreamWriter) -> None:
        heads.append(head)
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")

    async with server(serve) as port, asyncio.timeout(10), Http(allow_private=True) as client:
        await client.post(f"http://127.0.0.1:{port}/", headers={}, body=b"12345", basic=("me", "secret"))
    assert b"authorization: basic bwu6c2vjcmv0" in heads[0].lower()
    assert b"content-length: 5" in heads[0].lower()


async def test_a_redirect_is_not_followed() -> None:
    asked: list[bytes] = []

    async def serve(head: bytes, writer: asyncio.StreamWriter) -> None:
        asked.append(head)
        writer.write(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")

    async with server(serve) as port:
        found = await post(port)
    assert isinstance(found, Answer)
    assert found.status == 302
    assert len(asked) == 1


async def test_a_huge_answer_is_cut() -> None:
    async def serve(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b"x" * 65_536)
            await writer.drain()

    async with server(serve) as port:
        found = await post(port)
    assert isinstance(found, Answer)
    assert len(found.body) == MAX_ANSWER


async def test_a_compressed_answer_is_not_inflated() -> None:
    bomb = gzip.compress(b"0" * 10_000_000)
    head = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(bomb)
    async with server(saying(head + bomb)) as port:
        found = await post(port)
    assert isinstance(found, Answer)
    assert found.body == bomb[:MAX_ANSWER]


async def test_an_answer_that_never_ends_is_given_up() -> None:
    async def serve(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nab")
        await writer.drain()
        await asyncio.Event().wait()

    async with server(serve) as port:
        assert await post(port, timeout=0.3) == Broken("no answer in time")


async def test_a_server_that_hangs_up_broke_it() -> None:
    async def serve(_: bytes, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    async with server(serve) as port:
        assert isinstance(await post(port), Broken)


@pytest.mark.parametrize("junk", [b"what?\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 99_999])
async def test_an_answer_that_is_no_http_is_broken(junk: bytes) -> None:
    async with server(saying(junk)) as port:
        assert isinstance(await post(port), Broken)


async def test_nobody_there_is_unreached() -> None:
    async with server(saying(b"")) as port:
        pass
    assert await post(port) == Unreached("no connection")


async def test_a_name_without_address_is_unreached() -> None:
    async with asyncio.timeout(20), Http(allow_private=True) as client:
        found = await client.post("http://nowhere.invalid/", headers={}, body=b"")
    assert isinstance(found, Unreached)


async def test_a_certificate_that_nobody_vouches_for_is_unreached(tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed(tmp_path))
    serving = server(saying(b"HTTP/1.1 200 OK\r\n\r\n"), context)
    async with serving as port, asyncio.timeout(10), Http(allow_private=True) as client:
        found = await client.post(f"https://localhost:{port}/", headers={}, body=b"")
    assert found == Unreached("no trustworthy TLS")


def self_signed(folder: Path) -> Path:
    """A certificate of localhost that ran out yesterday, with its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=9))
        .not_valid_after(now - timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    encoding = serialization.Encoding.PEM
    secret = key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    path = folder / "both.pem"
    path.write_bytes(secret + certificate.public_bytes(encoding))
    return path


# From outside ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1", "192.168.0.1",
        "[fe80::1]", "[fd00::1]", "[64:ff9b::7f00:1]", "localhost", "localhost.", "2130706433", "0x7f.1", "127.1",
    ],
)  # fmt: skip
async def test_private_addresses_in_any_spelling_are_refused(host: str) -> None:
    async with asyncio.timeout(20), Http() as client:
        found = await client.post(f"http://{host}/", headers={}, body=b"")
    assert isinstance(found, Forbidden | Unreached)
    assert found != Unreached("no connection"), "a connection was tried"


async def test_a_name_that_resolves_to_a_private_address_is_refused_without_a_connection() -> None:
    connected: list[bytes] = []

    async def serve(head: bytes, writer: asyncio.StreamWriter) -> None:
        connected.append(head)

    async with server(serve), asyncio.timeout(20), Http() as client:
        assert await client.post("http://localhost/", headers={}, body=b"") == Forbidden("the address is not public")
    assert not connected


@pytest.mark.parametrize(
    ("url", "word"),
    [
        ("ftp://example.com/", "begin with"),
        ("//example.com/", "begin with"),
        ("https:///path", "begin with"),
        ("https://me@example.com/", "user name"),
        ("https://me:secret@example.com/", "user name"),
        ("https://example.com:22/", "port"),
        ("https://example.com:99999/", "form"),
        ("https://example.com/a b", "characters"),
        ("https://example.com/\r\nX: y", "characters"),
        ("https://exämple.com/", "characters"),
        ("https://example.com/" + "x" * 3_000, "too long"),
    ],
)
def test_urls_of_no_good_are_refused_with_a_reason_that_quotes_nothing(url: str, word: str) -> None:
    fault = url_fault(url)
    assert fault is not None
    assert word in fault
    assert "example" not in fault
    assert "secret" not in fault


@pytest.mark.parametrize("url", ["https://example.com/hook?x=1", "http://example.com", "https://8.8.8.8:443/"])
def test_ordinary_urls_pass(url: str) -> None:
    assert url_fault(url) is None


def test_plain_http_can_be_ruled_out() -> None:
    assert url_fault("http://example.com/", https_only=True) is not None
    assert url_fault("https://example.com/", https_only=True) is None


async def test_a_forbidden_url_is_a_value() -> None:
    async with Http() as client:
        assert isinstance(await client.post("https://example.com:22/", headers={}, body=b""), Forbidden)

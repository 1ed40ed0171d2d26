"""Where Redis is, read from a URL: every form, what is refused and what is then said, and that no secret is told."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bus.address import (
    Address,
    BadAddress,
    Cluster,
    Login,
    OneServer,
    Place,
    Sentinels,
    Socket,
    Tls,
    read_address,
)

TEXT = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)
HOSTS = st.sampled_from(["redis", "redis-1.example.org", "10.1.2.3", "[::1]", "my_redis"])


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://", OneServer(Place("localhost", 6379))),
        ("redis://redis", OneServer(Place("redis", 6379))),
        ("redis://redis:7000/", OneServer(Place("redis", 7000))),
        ("redis://:pw@127.0.0.1:6380/3", OneServer(Place("127.0.0.1", 6380), 3, Login("", "pw"))),
        ("redis://alice:p%40%2F@h/2?db=5", OneServer(Place("h", 6379), 5, Login("alice", "p@/"))),
        ("redis://a:p@w@h", OneServer(Place("h", 6379), 0, Login("a", "p@w"))),
        ("redis://u:p#w@h", OneServer(Place("h", 6379), 0, Login("u", "p#w"))),
        ("redis://[::1]:7/0", OneServer(Place("::1", 7))),
        ("rediss://h", OneServer(Place("h", 6379), tls=Tls())),
        (
            "rediss://h/1?ssl_ca_certs=/a/ca.pem&ssl_certfile=c.pem&ssl_keyfile=k.pem",
            OneServer(Place("h", 6379), 1, tls=Tls("/a/ca.pem", "c.pem", "k.pem")),
        ),
        ("unix:///run/redis.sock", OneServer(Socket("/run/redis.sock"))),
        ("unix://u:p@/run/redis.sock?db=4", OneServer(Socket("/run/redis.sock"), 4, Login("u", "p"))),
        ("redis+sentinel://h1,h2:7/main", Sentinels((Place("h1", 26379), Place("h2", 7)), "main")),
        (
            "redis+sentinel://u:p@h1/main?db=2&sentinel_username=s&sentinel_password=t%26",
            Sentinels((Place("h1", 26379),), "main", 2, Login("u", "p"), Login("s", "t&")),
        ),
        ("rediss+sentinel://h/m?ssl_ca_certs=x", Sentinels((Place("h", 26379),), "m", tls=Tls("x"))),
        ("redis+cluster://h1,h2:7001,h1", Cluster((Place("h1", 6379), Place("h2", 7001)))),
        ("redis+cluster://u:p@h/0?db=0", Cluster((Place("h", 6379),), Login("u", "p"))),
        ("rediss+cluster://h/", Cluster((Place("h", 6379),), tls=Tls())),
    ],
)
def test_every_form_is_read(url: str, address: Address) -> None:
    assert read_address(url) == address


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("redis://a..b:6379", "names no host and port"),
        (f"redis://{'a' * 64}:6379", "names no host and port"),
        ("localhost:6379", "must begin with redis://, rediss://, unix://, redis+sentinel://"),
        ("http://h", "must begin with"),
        ("", "must begin with"),
        ("redis://h/main", "number where that of the database should stand; write redis://host:6379/0"),
        ("redis://h/²", "number"),
        ("redis://h:0", "no host and port"),
        ("redis://h:65536", "no host and port"),
        ("redis://h:port", "no host and port where they should stand; write redis://host:6379/0"),
        ("redis://u:p?w1=x@h", "has an option that redis:// does not know; it knows db; write characters"),
        ("redis://u:p/w@h", "write characters such as @ / ? # : of a user or password as %40"),
        ("redis://h1,h2", "names several servers; one server is redis://host:6379/0, a cluster redis+cluster://"),
        ("redis://h?timeout=3", "an option timeout that redis:// does not know; it knows db"),
        ("redis://u:p?W1@h", "an option that redis:// does not know; it knows db; write characters"),
        ("redis://h?ssl_ca_certs=x", "which is for TLS; write rediss instead of redis"),
        ("redis://h?sentinel_username=x", "an option sentinel_username that redis:// does not know"),
        ("rediss://h?ssl_keyfile=x", "ssl_keyfile without ssl_certfile"),
        ("unix://run/redis.sock", "names no socket; write unix:///path"),
        ("unix:///", "names no socket"),
        ("redis+sentinel://h1,h2", "does not name the service whose master is meant"),
        ("redis+sentinel://h1/a/b", "does not name the service"),
        ("redis+sentinel:///main", "no host and port"),
        ("redis+cluster://", "no host and port where they should stand; write redis+cluster://"),
        ("redis+cluster://h/1", "a cluster has only 0"),
        ("redis+cluster://h?db=1", "a cluster has only 0"),
    ],
)
def test_what_is_wrong_is_said_with_what_to_write(url: str, says: str) -> None:
    address = read_address(url)
    assert isinstance(address, BadAddress)
    assert says in address.fault


@given(HOSTS, st.integers(1, 65_535), st.integers(0, 15), TEXT, TEXT, st.booleans())
def test_what_is_written_is_read(host: str, port: int, db: int, user: str, password: str, tls: bool) -> None:
    scheme = "rediss" if tls else "redis"
    url = f"{scheme}://{quote(user, safe='')}:{quote(password, safe='')}@{host}:{port}/{db}"
    place = Place(host.strip("[]"), port)
    assert read_address(url) == OneServer(place, db, Login(user, password), Tls() if tls else None)


@given(st.text(max_size=60), st.sampled_from(["", "redis://", "redis+sentinel://", "redis+cluster://", "unix://"]))
def test_anything_is_an_address_or_a_fault(text: str, scheme: str) -> None:
    assert isinstance(read_address(scheme + text), Address | BadAddress)


@pytest.mark.parametrize("scheme", ["redis", "redis+sentinel", "redis+cluster", "rediss", "bad"])
@pytest.mark.parametrize("rest", ["h:x", "h/x/y", "h?a=b", "h,h2/9", "h?ssl_keyfile=a", "#h"])
def test_no_secret_is_ever_told(scheme: str, rest: str) -> None:
    secret = "Sesame77"
    for url in (f"{scheme}://{secret}:{secret}@{rest}", f"{scheme}://u:{secret}?{secret}@{rest}"):
        address = read_address(url)
        assert secret not in repr(address).replace(f"user='{secret}'", "")

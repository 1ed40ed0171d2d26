"""What is measured of senders: the services that take everything, and the figures' names."""

from __future__ import annotations

import json
import smtplib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from email.message import EmailMessage
from http.client import HTTPConnection

import pytest

from loadtest.bench.deliver import PEOPLE, SMALL, Size
from loadtest.bench.measures import MEASURES
from loadtest.bench.report import figures
from tests.ports import free_port


def until_it_listens(port: int) -> None:
    """Wait for a server of another process; there is nothing to wait on but its answer."""
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        else:
            return


@pytest.fixture
def ports() -> Iterator[tuple[int, int]]:
    """Of services that run for the length of the test."""
    push, mail = free_port(), free_port()
    process = subprocess.Popen([sys.executable, "-m", "loadtest.bench.sink", str(push), str(mail)])
    try:
        until_it_listens(push)
        until_it_listens(mail)
        yield push, mail
    finally:
        process.terminate()
        process.wait(30)


def test_the_services_take_what_they_are_sent_and_count_it(ports: tuple[int, int]) -> None:
    push, mail = ports
    link = HTTPConnection("127.0.0.1", push, timeout=30)
    for size in (0, 10, 5_000):
        link.request("POST", "/p/1", b"x" * size)
        assert link.getresponse().read() == b""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = "a@example.com", "b@example.com", "s"
    message.set_content("line\n.\nanother\n")
    with smtplib.SMTP("127.0.0.1", mail, timeout=30) as server:
        for _ in range(2):
            server.send_message(message)
    link.request("GET", "/counts")
    assert json.loads(link.getresponse().read()) == {"push": 3, "mail": 2}
    link.close()


def test_every_reading_has_its_figure() -> None:
    assert {"push", "email"} <= MEASURES.keys()
    names = {figure.name for figure in figures(())}
    assert {f"deliver_{what}_{of}" for what in ("push", "mail") for of in ("wall", "cpu", "redis_us")} <= names


@pytest.mark.parametrize("size", [Size(), SMALL])
def test_events_come_out_even(size: Size) -> None:
    assert size.pushes % PEOPLE == size.mails % PEOPLE == 0

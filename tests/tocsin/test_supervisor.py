"""The supervisor, with real processes: restarts what crashes, gives up on what cannot run, leaves nobody behind."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bus.clock import SystemClock
from tocsin import leash
from tocsin.supervisor import Child, ChildFailed, Supervisor, ending
from tocsin.trouble import CONFIG, FAILED, explain

LIMIT = 20.0
FAST = (0.01, 0.02)


def script(text: str, *arguments: str, **options: float) -> Child:
    command = (sys.executable, "-I", "-S", "-c", textwrap.dedent(text), *arguments)
    return Child("worker", lambda: command, dict(os.environ), **options)  # type: ignore[arg-type]


FOREVER = """
    import signal, sys
    open(sys.argv[1], "a").write("up\\n")
    signal.pause()
"""


def lines_of(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


def is_gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


@asynccontextmanager
async def running(
    children: list[tuple[Child, Callable[[], bool]]], said: list[str]
) -> AsyncIterator[tuple[Supervisor, asyncio.Task[None]]]:
    """A supervisor at work, for the length of the block; ready when the block begins."""
    supervisor = Supervisor(clock=SystemClock(), say=said.append, backoff=FAST)
    ready = asyncio.Event()
    async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as group:
        task = group.create_task(supervisor.run(children, ready.set))
        await ready.wait()
        yield supervisor, task
        if not task.done():
            supervisor.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Another process is waited for, so its traces are looked at."""
    async with asyncio.timeout(LIMIT):
        while not condition():  # noqa: ASYNC110  # no event of ours tells of another process
            await asyncio.sleep(0.01)


async def test_what_crashes_is_started_again(tmp_path: Path) -> None:
    trace, said = tmp_path / "trace", list[str]()
    child = script(
        """
        import os, signal, sys
        trace = open(sys.argv[1], "a+")
        trace.write("up\\n"); trace.flush(); trace.seek(0)
        if len(trace.readlines()) < 3: os.kill(os.getpid(), signal.SIGKILL)
        signal.pause()
        """,
        str(trace),
    )
    async with running([(child, lambda: len(lines_of(trace)) >= 3)], said):
        pass
    assert said == [f"worker was ended by SIGKILL; starting it again in {wait:g} s" for wait in FAST]


async def test_each_is_started_when_the_one_before_is_ready_and_ended_in_reverse(tmp_path: Path) -> None:
    order = tmp_path / "order"
    text = """
        import signal, sys, os
        def write(what):
            with open(sys.argv[1], "a") as order: order.write(what + " " + sys.argv[2] + "\\n")
        def ended(*_):
            write("down"); os._exit(0)
        signal.signal(signal.SIGTERM, ended)
        write("up")
        while True: signal.pause()
    """
    first, second = script(text, str(order), "1"), script(text, str(order), "2")
    steps: list[tuple[Child, Callable[[], bool]]] = [
        (first, lambda: "up 1" in lines_of(order)),
        (second, lambda: "up 2" in lines_of(order)),
    ]
    async with running(steps, []):
        pass
    assert lines_of(order) == ["up 1", "up 2", "down 2", "down 1"]


async def test_a_wrong_setting_is_not_tried_again() -> None:
    said: list[str] = []
    child = script(f"raise SystemExit({CONFIG})")
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(LIMIT):
            await Supervisor(clock=SystemClock(), say=said.append).run([(child, lambda: False)], lambda: None)
    trouble = explain(caught.value)
    assert trouble is not None
    assert trouble.code == CONFIG
    assert "cannot run as it is configured" in str(trouble)
    assert not said


async def test_what_keeps_crashing_is_given_up_and_takes_the_rest_along(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    good = script(FOREVER, str(trace))
    bad = Child("bad", script("raise SystemExit(3)").command, dict(os.environ), log=tmp_path / "log")
    supervisor = Supervisor(clock=SystemClock(), say=lambda text: None, backoff=FAST)
    with pytest.raises(ExceptionGroup) as caught:
        async with asyncio.timeout(LIMIT):
            await supervisor.run([(good, lambda: bool(lines_of(trace))), (bad, lambda: False)], lambda: None)
    assert isinstance(caught.value.exceptions[0], ChildFailed)
    trouble = explain(caught.value)
    assert trouble is not None
    assert trouble.code == FAILED
    assert "bad ended with code 3" in str(trouble)
    assert str(tmp_path / "log") in str(trouble)


async def test_one_that_will_not_end_is_killed() -> None:
    said: list[str] = []
    stubborn = script("import signal; signal.signal(15, signal.SIG_IGN); print(flush=True); signal.pause()", grace=0.2)
    async with running([(stubborn, lambda: True)], said) as (supervisor, _):
        keeper = supervisor._keepers[0]
        await until(lambda: keeper.pid is not None)
        pid = keeper.pid
        assert pid is not None
        await until(lambda: b"-c" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"))
        await until(lambda: _ignores_sigterm(pid))
    assert said == ["worker did not end within 0.2 s; killing it"]
    assert is_gone(pid)


def _ignores_sigterm(pid: int) -> bool:
    status = Path(f"/proc/{pid}/status").read_text()
    ignored = next(line for line in status.splitlines() if line.startswith("SigIgn"))
    return bool(int(ignored.split()[1], 16) & (1 << (signal.SIGTERM - 1)))


async def test_a_second_request_to_stop_ends_everything_at_once() -> None:
    stubborn = script("import signal; signal.signal(15, signal.SIG_IGN); signal.pause()", grace=LIMIT)
    async with running([(stubborn, lambda: True)], []) as (supervisor, _):
        keeper = supervisor._keepers[0]
        await until(lambda: keeper.pid is not None and _ignores_sigterm(keeper.pid))
        supervisor.stop()
        supervisor.stop()


async def test_says_what_is_being_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tocsin.supervisor.PATIENCE", 0.05)
    said: list[str] = []
    async with running([(script(FOREVER, str(tmp_path / "t")), lambda: len(said) >= 2)], said):
        pass
    assert said[:2] == ["worker is not ready yet; waiting"] * 2


@pytest.mark.parametrize(
    ("code", "words"),
    [(3, "ended with code 3"), (-9, "was ended by SIGKILL"), (-15, "was ended by SIGTERM"), (-99, "by signal 99")],
)
def test_says_how_a_process_ended(code: int, words: str) -> None:
    assert words in ending(code)


async def test_a_child_ends_with_its_parent_even_if_that_is_killed(tmp_path: Path) -> None:
    text = f"""
import os, subprocess, sys
leash = [sys.executable, "-I", "-S", {leash.__file__!r}, str(os.getpid())]
child = subprocess.Popen([*leash, sys.executable, "-c", "print('up', flush=True); import signal; signal.pause()"])
print(child.pid, flush=True)
child.wait()
"""
    parent = await asyncio.create_subprocess_exec(sys.executable, "-c", text, stdout=asyncio.subprocess.PIPE)
    assert parent.stdout is not None
    async with asyncio.timeout(LIMIT):
        told = {(await parent.stdout.readline()).strip(), (await parent.stdout.readline()).strip()}
        pid = int(next(iter(told - {b"up"})))
        assert not is_gone(pid)
        parent.kill()
        await parent.wait()
    await until(lambda: is_gone(pid))


def test_a_child_whose_parent_died_first_never_starts() -> None:
    nobody = subprocess.Popen(["true"])
    nobody.wait()
    ran = subprocess.run(
        [sys.executable, leash.__file__, str(nobody.pid), "echo", "started"], capture_output=True, check=True
    )
    assert ran.stdout == b""

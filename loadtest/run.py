"""`make load`: start `tocsin dev` on a free port, run locust against it without a browser, end everything.

Options are handed on to locust: `python -m loadtest.run --shape ramp --people 300`.
"""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

START_TIMEOUT = 60.0
LONGEST = 300.0
"""No run lasts longer, in seconds, whatever its options say."""
ROOT = Path(__file__).parents[1]
REPORT = ROOT / "loadtest" / "report.html"


def main() -> int:
    """The exit code of locust: 0 only if nothing was lost, doubled or out of order."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # an exception, so that both processes are ended
    with tempfile.TemporaryDirectory(prefix="tocsin-load-") as name:
        folder = Path(name)
        secret = secrets.token_hex(32)
        with (folder / "dev.log").open("wb") as log:
            system = _start_system(folder, secret, log)
            try:
                return _run_locust(_where(system, folder), secret)
            except KeyboardInterrupt:
                return 130
            finally:
                _end(system)


def _start_system(folder: Path, secret: str, log: Any) -> subprocess.Popen[bytes]:
    program = str(Path(sys.executable).with_name("tocsin"))
    env = {name: value for name, value in os.environ.items() if not name.startswith("TOCSIN_")}
    env["TOCSIN_TOKEN_SECRET"] = secret
    command = [program, "dev", "--port", "0", "--json", "--data-folder", str(folder / "data")]
    return subprocess.Popen(command, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=log, start_new_session=True)


def _where(system: subprocess.Popen[bytes], folder: Path) -> dict[str, str]:
    """Where it can be reached: the one line of JSON that it prints when it serves."""
    assert system.stdout is not None
    deadline = time.monotonic() + START_TIMEOUT
    os.set_blocking(system.stdout.fileno(), False)
    said = b""
    while b"\n" not in said:
        if system.poll() is not None or time.monotonic() > deadline:
            sys.exit("tocsin dev did not start:\n" + (folder / "dev.log").read_text(errors="replace")[-2000:])
        said += system.stdout.read() or b""
        time.sleep(0.05)
    where: dict[str, str] = json.loads(said.splitlines()[0])
    return where


def _run_locust(where: dict[str, str], secret: str) -> int:
    command = [
        sys.executable, "-m", "locust", "-f", str(ROOT / "loadtest" / "locustfile.py"), "--headless", "--only-summary",
        "--host", where["page"].rstrip("/"), "--redis", where["redis_url"], "--stop-timeout", "20",
        "--html", str(REPORT), "--exit-code-on-error", "0", *sys.argv[1:],
    ]  # fmt: skip
    env = os.environ | {"LOAD_SECRET": secret, "PYTHONPATH": str(ROOT)}
    locust = subprocess.Popen(command, cwd=ROOT, env=env, start_new_session=True)
    try:
        code = locust.wait(LONGEST)
    except subprocess.TimeoutExpired:
        print(f"the run was ended after {LONGEST:g} s", file=sys.stderr)
        code = 1
    finally:
        _end(locust)
    print(f"report: {REPORT.relative_to(ROOT)}")
    return code


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(5)


if __name__ == "__main__":
    sys.exit(main())

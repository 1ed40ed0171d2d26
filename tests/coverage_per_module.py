"""Each pure module's own test file must cover it, branches too: `python tests/coverage_per_module.py [MODULE …]`.

The pure modules are those of the import contract `pure` in pyproject.toml; the test file of `bus.event` is
`tests/bus/test_event.py`. What other tests happen to run does not count: a pure module is judged by its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]
FLOOR: Final = 98.0
"""Per cent of statements and branches."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """How one module fared; `fault` is empty when all is well."""

    module: str
    percent: float
    fault: str


def pure_modules() -> list[str]:
    """Their dotted names."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    return next(list(contract["source_modules"]) for contract in contracts if contract.get("id") == "pure")


def source_of(module: str) -> Path:
    """The file of a module."""
    return ROOT / (module.replace(".", "/") + ".py")


def test_of(module: str) -> Path:
    """The test file that alone must cover it."""
    package, *_, name = module.split(".")
    return ROOT / "tests" / package / f"test_{name}.py"


def judge(module: str) -> Verdict:
    """Run its own tests under coverage, apart from everything else."""
    test = test_of(module)
    if not test.exists():
        return Verdict(module, 0.0, f"has no test file {test.relative_to(ROOT)}")
    with tempfile.TemporaryDirectory() as folder:
        data = {**os.environ, "COVERAGE_FILE": f"{folder}/data"}
        coverage = [sys.executable, "-m", "coverage"]
        measured = [*coverage, "run", "--branch", f"--include={source_of(module)}", "-m", "pytest", "-q", str(test)]
        ran = subprocess.run([*measured, "-p", "no:cacheprovider"], cwd=ROOT, env=data, capture_output=True, text=True)
        if ran.returncode:
            return Verdict(module, 0.0, f"its tests fail:\n{ran.stdout[-2000:]}{ran.stderr[-500:]}")
        subprocess.run([*coverage, "json", "-q", "-o", f"{folder}/out"], cwd=ROOT, env=data, capture_output=True)
        try:
            files = json.loads(Path(folder, "out").read_text())["files"]
        except FileNotFoundError:
            return Verdict(module, 0.0, "is not even imported by its tests")
    return _judged(module, next(iter(files.values())))


def _judged(module: str, found: dict[str, object]) -> Verdict:
    summary, missing = found["summary"], found["missing_lines"]
    assert isinstance(summary, dict)
    percent = float(summary["percent_covered"])
    fault = "" if percent >= FLOOR else f"lines {missing}, branches {found.get('missing_branches')} are not covered"
    return Verdict(module, percent, fault)


def main(modules: list[str]) -> int:
    """Judge them two at a time; 1 when any falls short."""
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        verdicts = list(pool.map(judge, modules or pure_modules()))
    for verdict in verdicts:
        if verdict.fault:
            print(f"{verdict.module}: {verdict.percent:.0f} %: {verdict.fault}")
    bad = sum(bool(verdict.fault) for verdict in verdicts)
    print(f"coverage: {len(verdicts) - bad} of {len(verdicts)} pure modules are covered by their own tests")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

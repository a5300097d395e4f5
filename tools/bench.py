"""Runs the benchmarks, one process each, one after the other.

A benchmark is a module of `benchmarks/` without a leading underscore, or a package there with a ``__main__.py``. It
takes ``--smoke`` for its smallest size; at its real size it appends its figures to `benchmarks/results/`.

At smoke size the ratio to the peer in the same run is compared with `benchmarks/smoke_ratios.json`, where there is one: one that
fell by more than a third fails the whole. Only ratios are compared, for they hold on a slow machine too.

INVARIANT: a failing benchmark does not keep the others from running, and fails the whole. Called by `make bench` and
`make bench-smoke`.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Final

SMOKE_RATIOS: Final = "smoke_ratios.json"
KEPT_SHARE_MIN: Final = 2 / 3
"""What must be left of a ratio."""
ROOT: Final = Path(__file__).resolve().parent.parent
BENCHMARKS: Final = ROOT / "benchmarks"
SMOKE_S_MAX: Final = 300
"""What one benchmark may take at its smallest size, seconds; kernels may have to be compiled in it."""


def main() -> int:
    """Runs all benchmarks, or those named; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench", description=__doc__)
    parser.add_argument("names", nargs="*", help="benchmarks to run; all when none is named")
    parser.add_argument("--smoke", action="store_true", help="at the smallest size, only to see that they work")
    options = parser.parse_args()
    known = benchmarks()
    unknown = sorted(set(options.names) - set(known))
    if unknown or not known:
        print(f"no such benchmark: {', '.join(unknown) or 'benchmarks/ is empty'}; known: {', '.join(known) or 'none'}")
        return 2
    names = options.names or known
    failed = [name for name in names if not run(name, smoke=options.smoke)]
    print(f"benchmarks: {len(names) - len(failed)} ran, {len(failed)} failed {' '.join(failed)}".rstrip())
    return 1 if failed else 0


def benchmarks() -> list[str]:
    """Returns the names of all benchmarks, sorted."""
    modules = [path.stem for path in BENCHMARKS.glob("*.py")]
    packages = [path.parent.name for path in BENCHMARKS.glob("*/__main__.py")]
    return sorted(name for name in modules + packages if not name.startswith("_"))


def run(name: str, *, smoke: bool) -> bool:
    """Runs one benchmark with a cache of compiled kernels that no test shares; returns whether it succeeded."""
    print(f"== benchmarks.{name}{' --smoke' if smoke else ''}", flush=True)
    command = [sys.executable, "-m", f"benchmarks.{name}", *(["--smoke"] if smoke else [])]
    usual = json.loads((BENCHMARKS / SMOKE_RATIOS).read_text(encoding="utf-8")).get(name) if smoke else None
    out = ROOT / ".build" / "smoke" / f"{name}.jsonl"
    if usual is not None:
        out.unlink(missing_ok=True)
        command += ["--out", str(out)]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(ROOT / ".build" / "numba" / "bench")}
    try:
        done = subprocess.run(command, cwd=ROOT, env=environment, check=False, timeout=SMOKE_S_MAX if smoke else None)
    except subprocess.TimeoutExpired:
        print(f"benchmarks.{name} took more than {SMOKE_S_MAX} s")
        return False
    return done.returncode == 0 and (usual is None or kept(name, out, usual))


def kept(name: str, out: Path, usual: float) -> bool:
    """Tells whether a benchmark's ratio is still near the usual one; one that could not be measured is told and passes."""
    if not out.is_file():
        print(f"benchmarks.{name} measured no ratio here")
        return True
    ratio = json.loads(out.read_text(encoding="utf-8").splitlines()[-1])["ratio"]
    fell = ratio < usual * KEPT_SHARE_MIN
    print(f"benchmarks.{name}: ratio {ratio:.3g}, usually {usual:.3g}{': fell by more than a third' if fell else ''}")
    return not fell


if __name__ == "__main__":
    sys.exit(main())

"""The one way a kernel is compiled, and where its code is kept.

INVARIANTS: every kernel is bound by `kernel`, so all share the same flags: nopython, no GIL held, numpy's error model (a
float division by zero is inf or NaN, not an exception), exact maths. A kernel with a signature is compiled at import or
loaded from disk, so that nothing is compiled while a payment waits. numba looks only at a kernel's own file when it
decides whether its cached code is current, although code of other files is inlined into it; so the cache folder is named by a
digest of every kernel source of the package, and a stale one is never read.

Called by modules named ``kernels`` only.
"""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import llvmlite  # type: ignore[import-untyped]
import llvmlite.binding  # type: ignore[import-untyped]
import numba
import numpy as np

F = TypeVar("F", bound=Callable[..., Any])

PACKAGE = Path(__file__).parent


def sources_digest() -> str:
    """Returns 16 hex digits over everything that is compiled into kernels: their sources and the constants they use."""
    checked = os.environ.get("NUMBA_BOUNDSCHECK", "")
    digest = hashlib.blake2b(f"{numba.__version__}|{checked}".encode(), digest_size=8)
    read = [PACKAGE / name for name in ("jit.py", "types.py", "enums.py")]
    files = [*read, *PACKAGE.rglob("kernels.py"), *PACKAGE.rglob("layout.py")]
    for file in sorted(files):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def cache_folder() -> Path:
    """Returns the folder of compiled code: a folder of its own below ``NUMBA_CACHE_DIR`` or the user's cache."""
    root = os.environ.get("NUMBA_CACHE_DIR") or str(
        Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "riskengine"
    )
    return Path(root) / f"kernels-{sources_digest()}"


def semantics_id() -> str:
    """Returns 16 hex digits over all that may change a bit of a decision: kernels, libraries and the CPU's features."""
    features = ",".join(name for name, present in sorted(llvmlite.binding.get_host_cpu_features().items()) if present)
    parts = (sources_digest(), numba.__version__, llvmlite.__version__, np.__version__, features)
    return hashlib.blake2b("|".join(parts).encode(), digest_size=8).hexdigest()


numba.config.CACHE_DIR = str(cache_folder())  # type: ignore[attr-defined]


def kernel(signature: str | None = None, *, inline: bool = False) -> Callable[[F], F]:
    """Binds a function as a kernel.

    Args:
        signature: numba type string; None for a helper that is compiled as part of the kernels that call it.
        inline: Whether LLVM should always inline it; for helpers of a few lines on the hot path.

    Returns:
        The decorator.
    """
    # numba's private `_nrt=False` spares the counting of references to a dozen arrays in some twenty helpers for each event:
    # 6.5 µs instead of 9 for a fold. Not adopted: it is private, and one run of the fold's property tests with it ended in
    # inconsistent data whose cause was not found.
    options: dict[str, Any] = {"nopython": True, "nogil": True, "error_model": "numpy", "fastmath": False}
    if inline:
        options["forceinline"] = True
    bound = numba.jit(**options) if signature is None else numba.jit(signature, cache=True, **options)
    return cast("Callable[[F], F]", bound)

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
import llvmlite.ir  # type: ignore[import-untyped]
import numba
import numba.extending
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
    options: dict[str, Any] = {"nopython": True, "nogil": True, "error_model": "numpy", "fastmath": False}
    if inline:
        options["forceinline"] = True
    bound = numba.jit(**options) if signature is None else numba.jit(signature, cache=True, **options)
    return cast("Callable[[F], F]", bound)


def borrowed(array: F) -> F:
    """Returns the same array without an owner, for the time of one call of a kernel: views of it then cost nothing.

    A helper that takes a view of an array counts a reference up and down, atomically, some hundred times for one event; a fold
    took a fifth longer by it. An array without an owner has no counter. The caller holds the array while the kernel
    runs, as it does anyway.
    """
    return array


@numba.extending.intrinsic
def _without_owner(_typing: Any, array: Any) -> Any:
    def build(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        made = context.make_array(array)(context, builder, arguments[0])
        made.meminfo = llvmlite.ir.Constant(made.meminfo.type, None)
        made.parent = llvmlite.ir.Constant(made.parent.type, None)
        return made._getvalue()

    return array(array), build


@numba.extending.overload(borrowed)
def _borrowed(array: Any) -> Any:
    def impl(array: Any) -> Any:
        return _without_owner(array)  # type: ignore[call-arg]

    return impl


def fetch(array: Any, index: int) -> None:
    """Asks the processor for the cache line of an array's element, and does not wait for it. Nothing else happens.

    Args:
        array: C-contiguous.
        index: Of the element, counted through all dimensions. One that does not exist does no harm.
    """


@numba.extending.intrinsic
def _fetch_line(_typing: Any, array: Any, index: Any) -> Any:
    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        ir = llvmlite.ir
        made = context.make_array(array)(context, builder, arguments[0])
        element = context.cast(builder, arguments[1], signature.args[1], numba.types.intp)
        line = builder.bitcast(builder.gep(made.data, [element]), ir.PointerType(ir.IntType(8)))
        number = ir.IntType(32)
        wanted = ir.FunctionType(ir.VoidType(), [line.type, number, number, number])
        prefetch = numba.core.cgutils.get_or_insert_function(builder.module, wanted, "llvm.prefetch.p0")  # type: ignore[no-untyped-call]
        # For reading (0), to stay in all caches (3), as data (1).
        builder.call(prefetch, [line, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return numba.types.none(array, index), build


@numba.extending.overload(fetch)
def _fetch(array: Any, index: Any) -> Any:
    def impl(array: Any, index: Any) -> Any:
        return _fetch_line(array, index)  # type: ignore[call-arg]

    return impl

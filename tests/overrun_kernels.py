"""A kernel that reads past its array on purpose: what the run with bounds checks has to catch.

INVARIANT: the caller passes a view of a larger array, so that the unchecked read stays within memory of ours. Called by
`tests/test_kernel_rules.py`.
"""

from riskengine.jit import kernel


@kernel("int64(int64[::1], int64)")
def read_at(values, index):  # type: ignore[no-untyped-def]
    """Returns ``values[index]``, wherever that is."""
    return values[index]

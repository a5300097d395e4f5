"""Large arrays as blocks of 64 KiB, of which those that are nothing but zeros are left out.

The arrays of a state are reserved for its bounds and touched as it fills: most of their blocks are zeros. INVARIANT: blocks
are counted from the beginning of an array's bytes; the last one may be short. Called by `engine.state` and `engine.snapshot`.
"""

from typing import Any, Final

import numpy as np
import numpy.typing as npt

BLOCK_BYTES: Final = 64 * 1024
_PIECE_BLOCKS: Final = 256
_WORDS: Final = BLOCK_BYTES // 8

Bytes = npt.NDArray[np.uint8]


def bytes_of(array: npt.NDArray[Any]) -> Bytes:
    """Views a C-contiguous array as uint8[bytes]. No copy."""
    assert array.flags.c_contiguous, "an array of the state is contiguous"
    return array.reshape(-1).view(np.uint8)


def used_blocks(data: Bytes) -> npt.NDArray[np.int64]:
    """Finds the blocks in which a byte is not 0.

    Args:
        data: uint8[bytes].

    Returns:
        int64[n], their indexes, rising.
    """
    whole = len(data) // BLOCK_BYTES
    words = data[: whole * BLOCK_BYTES].view(np.uint64).reshape(whole, _WORDS)
    used = np.empty(-(-len(data) // BLOCK_BYTES), np.bool_)
    for first in range(0, whole, _PIECE_BLOCKS):
        piece = words[first : first + _PIECE_BLOCKS]
        used[first : first + len(piece)] = np.bitwise_or.reduce(piece, axis=1) != 0
    used[whole:] = data[whole * BLOCK_BYTES :].any()
    return np.flatnonzero(used)


def block(data: Bytes, index: int) -> Bytes:
    """Returns a view of one block; the last one may be short."""
    return data[index * BLOCK_BYTES : (index + 1) * BLOCK_BYTES]

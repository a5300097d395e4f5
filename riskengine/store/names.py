"""Numbers of rows to the words they stand for: closed sets, short codes, and what one activation's bits and indexes mean.

`wire.names` does the same for replies, in bytes of the wire; here each vocabulary is an Arrow array, from which a column of
words is taken at once.

INVARIANTS: a word is never invented: a number without one is an error of the programmer; memos are bounded.

Called by `rows`.
"""

from collections.abc import Iterable, Mapping, Sequence
from enum import IntEnum
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from riskengine.types import unpack_code

CODES_MAX: Final = 65_536
"""Codes remembered with their text; at the bound the memo starts anew."""
Indices = npt.NDArray[Any]


def vocabulary(words: Iterable[str | None]) -> pa.Array:
    """Returns words as an array to take from."""
    return pa.array(list(words), pa.string())


def enum_vocabulary(members: type[IntEnum]) -> pa.Array:
    """Returns the names of a closed set by number; 0 is null."""
    numbers = {int(member): member.name for member in members}
    return vocabulary(numbers.get(number) for number in range(max(numbers) + 1))


def taken(words: pa.Array, indices: Indices) -> pa.Array:
    """Returns the word of each index.

    Args:
        words: string[w].
        indices: Integers of shape (n,), 0 to w - 1.
    """
    return words.take(pa.array(indices))


class CodeTexts:
    """Codes of `types.pack_code` to text. Not to be shared by threads."""

    def __init__(self) -> None:
        self._texts: dict[int, str | None] = {}

    def column(self, codes: npt.NDArray[np.int64]) -> pa.Array:
        """Returns the text of each code, null for 0.

        Args:
            codes: int64[n].

        Returns:
            string[n].
        """
        # Arrow's hash finds the distinct ones in a tenth of the time of np.unique, which sorts.
        encoded = pa.array(codes).dictionary_encode()
        texts = vocabulary(self._text(code) for code in encoded.dictionary.to_pylist())
        return texts.take(encoded.indices)

    def _text(self, code: int) -> str | None:
        if code not in self._texts:
            if len(self._texts) >= CODES_MAX:
                self._texts.clear()
            self._texts[code] = unpack_code(code) if code else None
        return self._texts[code]


class RevisionWords:
    """One activation's names.

    Args:
        names: What `engine.configuration.Configuration.names` returned.

    Attributes:
        rules: Ids by bit; likewise `lists` and `obligations`.
        segments: By index; likewise `reasons`, the codes.
        features: By index; null follows the last, for index -1.
        numbers: Declared keys by slot; likewise `labels`.
        policy: Resource name; likewise `model`, None without one.
    """

    def __init__(self, names: Mapping[str, Any]) -> None:
        self.rules = vocabulary(rule["id"] for rule in names["rules"])
        self.lists = vocabulary(item["id"] for item in names["lists"])
        self.obligations = vocabulary(names["obligation_ids"])
        self.segments = vocabulary(names["segments"])
        self.reasons = vocabulary(reason["code"] for reason in names["reasons"])
        self.features = vocabulary([*names["features"], None])
        self.numbers = vocabulary(names["inputs"]["numbers"])
        self.labels = vocabulary(names["inputs"]["labels"])
        self.base_currency: str = names["base_currency"]
        self.policy: str = names["policy"]
        self.policy_revision: str = names["policy_revision"]
        self.model: str | None = names.get("model") or None
        self.model_revision: str | None = names.get("model_revision") or None


def lists_of(parts: Sequence[npt.NDArray[Any]], words: pa.Array) -> pa.Array:
    """Returns, row by row, the words whose bits are set.

    Args:
        parts: Sets as words of 64 bits, 8-byte integers of shape (n,), the lowest bits first.
        words: string[w]; bits from w on are not looked at.

    Returns:
        list<string>[n], empty where nothing is set.
    """
    count = len(parts[0])
    given = np.flatnonzero(np.bitwise_or.reduce([part.view(np.uint64) for part in parts]))
    # Sets of most rows are empty: only the others are taken apart.
    raw = np.stack([part[given] for part in parts], axis=1).view(np.uint8)
    mask = np.unpackbits(raw, axis=1, bitorder="little")[:, : len(words)]
    rows, members = np.nonzero(mask)
    return pa.ListArray.from_arrays(offsets_of(given[rows], count), taken(words, members))


def offsets_of(rows: Indices, count: int) -> pa.Array:
    """Returns where the members of each row begin.

    Args:
        rows: The row of each member, in order.
        count: Of the rows, n.

    Returns:
        int32[n + 1].
    """
    offsets = np.zeros(count + 1, np.int32)
    np.cumsum(np.bincount(rows, minlength=count), out=offsets[1:])
    return pa.array(offsets)

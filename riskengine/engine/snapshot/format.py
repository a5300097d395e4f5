"""The bytes of a snapshot, specified in prose, then in code.

**Folder.** ``snapshots/`` under the data directory holds files named ``SSSSSSSSSSSSSSSS.snapshot``, after the sequence of the
last event in the state (16 digits). A file is written as ``….tmp``, synced and renamed, and the folder synced: what has the
name is whole, and what ends in ``.tmp`` means nothing. A snapshot is a projection of the journal: losing one costs time only.

**File.** Four parts without gaps, little-endian: header, document, table, blocks. The header has 144 bytes::

    magic 8 | format version u32 | layout version u32 | journal id 16 | state key 16 | state digest 16 |
    anchor: segment index i64, offset i64, chain hash 8, next sequence i64 | received time of the last event, us i64 |
    document bytes i64 | block count i64 | file bytes i64 |
    CRC-32 of the document u32 | CRC-32 of the table u32 | zero u32 | CRC-32 of the 140 bytes before u32

The *state key* (`activation.state_key`) names what a program, a feature declaration and limits make of a journal: a state is
good for whoever has its key, and for nobody else. The *anchor* (`journal.format`) is the place in the journal behind the last
event; its hash stands for all that precedes, so a snapshot of another journal, or ahead of this one, is noticed.

The *document* is JSON: the activation that the state was folded under, the names of all revisions that a row of the recent
decisions refers to, and the name, type and length of every array, in order. The *table* has 12 bytes for each block: index of
its array u32, index of the block in it u32, CRC-32 of its bytes u32; rising. The *blocks* follow in that order, each 65,536
bytes, or what is left of its array; a block that is not in the table is zeros.

So every byte is under a checksum, and what says where it belongs is under another. Whoever loads a file checks all of that
before a byte of the state is touched, and the digest of the whole state afterwards. The checksums are no seal against
somebody who can write the file.

INVARIANTS: everything here is a pure function of its arguments. Called by `reader` and `writer`.
"""

import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from zlib import crc32

import numpy as np

from riskengine.engine.activation import Activation
from riskengine.errors import RiskEngineError
from riskengine.journal.reader import Anchor
from riskengine.types import LAYOUT_VERSION

FOLDER: Final = "snapshots"
SUFFIX: Final = ".snapshot"
PARTIAL_SUFFIX: Final = ".tmp"
MAGIC: Final = b"RSKSNAP\n"
FORMAT_VERSION: Final = 1
DOCUMENT_BYTES_MAX: Final = 256 << 20
BLOCK_COUNT_MAX: Final = 1 << 26
ARRAYS_MAX: Final = 64

TABLE: Final = np.dtype([("array", "<u4"), ("block", "<u4"), ("crc", "<u4")])
_FIELDS: Final = struct.Struct("<8sII16s16s16sqq8sqqqqqIII")
_CRC: Final = struct.Struct("<I")
HEADER_BYTES: Final = _FIELDS.size + _CRC.size
assert HEADER_BYTES == 144


class SnapshotDamaged(RiskEngineError):
    """A file that is no sound snapshot; an older one, or the journal, has to do."""

    reason = "SNAPSHOT_DAMAGED"


@dataclass(frozen=True, slots=True)
class ArrayInfo:
    """An array of a snapshot.

    Attributes:
        name: As `State.arrays` has it.
        dtype: NumPy's text for its type, e.g. ``<i8``.
        size_bytes: Length of the part that is in use.
    """

    name: str
    dtype: str
    size_bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SnapshotHeader:
    """What a snapshot says of itself.

    Attributes:
        journal_id: Of the journal it was folded from, 16 bytes.
        key: Of the state, 16 bytes, see `activation.state_key`.
        digest: `State.digest`.
        anchor: Place in the journal behind the last event.
        received_time_us: Of the last event, microseconds.
        activation: What the state was folded under.
        names: What decisions refer to, by revision, that of `activation` included.
        arrays: What is in it, in order.
        block_count: Blocks that are not zeros.
        blocks_bytes: Their length.
        table_crc: CRC-32 of the table.
        table_offset: Where the table begins, bytes.
        path: The file.
    """

    journal_id: bytes
    key: bytes
    digest: str
    anchor: Anchor
    received_time_us: int
    activation: Activation
    names: dict[int, dict[str, Any]]
    arrays: tuple[ArrayInfo, ...]
    block_count: int
    blocks_bytes: int
    table_crc: int
    table_offset: int = 0
    path: Path = Path()

    @property
    def sequence(self) -> int:
        """Of the last event in the state."""
        return self.anchor.next_sequence - 1

    @property
    def blocks_offset(self) -> int:
        """Where the blocks begin, bytes."""
        return self.table_offset + self.block_count * TABLE.itemsize


def pack_head(header: SnapshotHeader) -> bytes:
    """Returns header and document; `table_offset` and `path` do not matter."""
    told = {
        "activation": header.activation.document(),
        "names": {str(revision): names for revision, names in header.names.items()},
        "arrays": [[info.name, info.dtype, info.size_bytes] for info in header.arrays],
    }
    document = json.dumps(told, separators=(",", ":")).encode()
    fields = _FIELDS.pack(
        MAGIC,
        FORMAT_VERSION,
        LAYOUT_VERSION,
        header.journal_id,
        header.key,
        bytes.fromhex(header.digest),
        header.anchor.segment_index,
        header.anchor.offset,
        header.anchor.chain_hash,
        header.anchor.next_sequence,
        header.received_time_us,
        len(document),
        header.block_count,
        HEADER_BYTES + len(document) + header.block_count * TABLE.itemsize + header.blocks_bytes,
        crc32(document),
        header.table_crc,
        0,
    )
    return fields + _CRC.pack(crc32(fields)) + document


def document_bytes(raw: bytes) -> int:
    """Returns the length of the document that follows a header.

    Args:
        raw: The first HEADER_BYTES of a file, fewer if it is shorter.

    Raises:
        SnapshotDamaged: They are not the header of a snapshot.
    """
    return int(_fields(raw)[11])


def unpack_head(raw: bytes, document: bytes, *, path: Path, file_bytes: int) -> SnapshotHeader:
    """Reads header and document.

    Args:
        raw: HEADER_BYTES bytes.
        document: What follows them, as long as `document_bytes` says.
        path: The file.
        file_bytes: Its length.

    Raises:
        SnapshotDamaged: A checksum, a length or the form of the document is wrong.
    """
    fields = _fields(raw)
    (_, _, _, journal_id, key, digest, segment_index, offset, chain_hash, next_sequence, received_time_us) = fields[:11]
    (document_size, block_count, told_bytes, document_crc, table_crc, _) = fields[11:]
    if len(document) != document_size or crc32(document) != document_crc:
        raise SnapshotDamaged("the checksum of its document is wrong")
    blocks_bytes = told_bytes - HEADER_BYTES - document_size - block_count * TABLE.itemsize
    if told_bytes != file_bytes or blocks_bytes < 0:
        raise SnapshotDamaged(f"it has {file_bytes} bytes instead of {told_bytes}")
    try:
        told = json.loads(document)
        arrays = tuple(ArrayInfo(str(name), str(dtype), int(size)) for name, dtype, size in told["arrays"])
        activation = Activation.from_document(told["activation"])
        names = {int(revision): dict(each) for revision, each in told["names"].items()}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SnapshotDamaged(f"its document is not as expected: {error!r}") from None
    return SnapshotHeader(
        journal_id=journal_id,
        key=key,
        digest=digest.hex(),
        anchor=Anchor(segment_index, offset, chain_hash, next_sequence),
        received_time_us=received_time_us,
        activation=activation,
        names=names,
        arrays=arrays,
        block_count=block_count,
        blocks_bytes=blocks_bytes,
        table_crc=table_crc,
        table_offset=HEADER_BYTES + document_size,
        path=path,
    )


def _fields(raw: bytes) -> tuple[Any, ...]:
    """Returns the fields of a header whose checksum, versions and bounds are right."""
    if len(raw) < HEADER_BYTES:
        raise SnapshotDamaged(f"it has {len(raw)} bytes, fewer than a header")
    fields = _FIELDS.unpack_from(raw)
    if _CRC.unpack_from(raw, _FIELDS.size)[0] != crc32(raw[: _FIELDS.size]) or fields[0] != MAGIC:
        raise SnapshotDamaged("the checksum of its header is wrong")
    version, layout = fields[1:3]
    if (version, layout) != (FORMAT_VERSION, LAYOUT_VERSION):
        raise SnapshotDamaged(f"it was written by another version (format {version}, layout {layout})")
    if not (0 < fields[11] <= DOCUMENT_BYTES_MAX and 0 <= fields[12] <= BLOCK_COUNT_MAX and fields[9] >= 1):
        raise SnapshotDamaged("a length in its header is out of bounds")
    return fields

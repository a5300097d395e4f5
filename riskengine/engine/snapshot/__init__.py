"""States on disk, so that a restart folds what came since and not the whole journal. The bytes are specified in `format`."""

from .format import SnapshotDamaged, SnapshotHeader
from .reader import check_snapshot, load_snapshot, read_snapshot_header, snapshot_paths
from .writer import discard_partial, remove_snapshot, retire_snapshot, write_snapshot

__all__ = [
    "SnapshotDamaged",
    "SnapshotHeader",
    "check_snapshot",
    "discard_partial",
    "load_snapshot",
    "read_snapshot_header",
    "remove_snapshot",
    "retire_snapshot",
    "snapshot_paths",
    "write_snapshot",
]

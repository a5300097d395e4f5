"""Backup and restore of a data directory: a copy that is proved before anybody needs it."""

from .copy import Backup, back_up
from .manifest import Manifest, read_manifest
from .restore import Restored, restore

__all__ = ["Backup", "Manifest", "Restored", "back_up", "read_manifest", "restore"]

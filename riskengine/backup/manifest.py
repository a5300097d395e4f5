"""What a backup says of itself: `backup.json`, written last, so that a folder without it is no backup.

INVARIANTS: every other file of the backup is listed with its length and BLAKE2b; the list is closed by a checksum of its own.
Called by `copy` and `restore`.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from riskengine.errors import BackupUnusable

MANIFEST_NAME: Final = "backup.json"
VERSION: Final = 1
_CHUNK_BYTES: Final = 1 << 20
_MANIFEST_BYTES_MAX: Final = 64 << 20


class FileEntry(BaseModel):
    """One file of a backup.

    Attributes:
        size_bytes: Its length.
        digest: 32 hex digits, BLAKE2b of its content.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    size_bytes: int = Field(ge=0)
    digest: str = Field(pattern="^[0-9a-f]{32}$")


class Manifest(BaseModel):
    """A backup's own description.

    Attributes:
        version: Of this format.
        journal_id: 32 hex digits.
        first_sequence: Of the oldest command it holds, 0 for none.
        last_sequence: Of the newest.
        last_received_time_us: Of the newest, microseconds since the epoch, 0 for none: what came later is not in it.
        state_digest: Of the state after the newest command, see `State.digest`.
        semantics: Of the program that computed the digest.
        files: By path within the backup.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    version: int
    journal_id: str = Field(pattern="^[0-9a-f]{32}$")
    first_sequence: int = Field(ge=0)
    last_sequence: int = Field(ge=0)
    last_received_time_us: int = Field(ge=0)
    state_digest: str
    semantics: str
    files: dict[str, FileEntry]

    @property
    def size_bytes(self) -> int:
        """Length of all files."""
        return sum(entry.size_bytes for entry in self.files.values())


def digest_of(path: Path) -> str:
    """Returns 32 hex digits of a file's content."""
    digest = hashlib.blake2b(digest_size=16)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def pack_manifest(manifest: Manifest) -> bytes:
    """Returns the bytes of `backup.json`: the manifest, and a checksum over it."""
    told = manifest.model_dump_json()
    return json.dumps({"manifest": told, "checksum": _checksum(told)}).encode()


def read_manifest(folder: Path) -> Manifest:
    """Reads the manifest of a backup.

    Raises:
        BackupUnusable: There is none, or it is damaged or of another version.
    """
    path = folder / MANIFEST_NAME
    try:
        if path.stat().st_size > _MANIFEST_BYTES_MAX:
            raise BackupUnusable(f"{path} is too long for a manifest")
        data: dict[str, Any] = json.loads(path.read_bytes())
        told = data["manifest"]
        if data["checksum"] != _checksum(told):
            raise BackupUnusable(f"{path} is damaged: its checksum is wrong; take another backup")
        manifest = Manifest.model_validate_json(told)
    except FileNotFoundError:
        raise BackupUnusable(f"{folder} is no finished backup: it has no {MANIFEST_NAME}") from None
    except (OSError, ValueError, KeyError, TypeError, ValidationError) as error:
        raise BackupUnusable(f"{path} cannot be read ({type(error).__name__}); take another backup") from None
    if manifest.version != VERSION:
        raise BackupUnusable(f"{path} has version {manifest.version}, this program reads {VERSION}")
    return manifest


def problems_of(folder: Path, manifest: Manifest) -> Iterator[str]:
    """Yields what is wrong with the files of a backup, reading all of them."""
    for name, entry in sorted(manifest.files.items()):
        path = folder / name
        if not path.resolve().is_relative_to(folder.resolve()):
            yield f"{name} lies outside of the backup"
        elif not path.is_file():
            yield f"{name} is missing"
        elif path.stat().st_size != entry.size_bytes:
            yield f"{name} has {path.stat().st_size} bytes, {entry.size_bytes} were backed up"
        elif digest_of(path) != entry.digest:
            yield f"{name} is not as it was backed up"


def _checksum(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

"""`candidate/` in the data directory: what is to decide next, checked, and the state that was folded for it beside the engine.

    candidate.lock                     held by whoever prepares an activation, for as long as that takes
    candidate/configuration.json       content of the configuration, and where its history begins
    candidate/snapshots/               a state of its key, as `engine.snapshot` writes it

The content has tags in place of listed identifiers, as the journal has it: the engine that takes over needs neither a key nor
the files, so what was checked is what goes live, whatever an editor has saved meanwhile.

INVARIANTS: nothing here decides anything; only an activation in the journal does. A snapshot here tells the activation that
decided when it was written, and is good for whoever has its key, like any other. Losing the folder costs time only.

Called by `engine.forerunner`, `engine.recovery`, `engine.standby`, the follower and `cli.activate`.
"""

import fcntl
import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from riskengine.durable import make_folder, replace_file
from riskengine.engine.activation import MODELS_FOLDER, keep_model
from riskengine.engine.configuration import Configuration, configuration_from_content
from riskengine.engine.origin import sound_headers
from riskengine.engine.snapshot import SnapshotHeader, discard_partial, remove_snapshot, snapshot_paths
from riskengine.errors import RiskEngineError, StartRefused

FOLDER: Final = "candidate"
LOCK_NAME: Final = "candidate.lock"
_FILE_NAME: Final = "configuration.json"


class ActivationAborted(RiskEngineError):
    """An activation that did not take place; what decided before goes on deciding."""

    reason = "ACTIVATION_ABORTED"
    grpc_code = "ABORTED"


@dataclass(frozen=True, slots=True)
class Candidate:
    """What is to decide next.

    Attributes:
        configuration: Without a revision.
        since: Sequence at which the history of its state begins.
    """

    configuration: Configuration
    since: int


def hold_candidate(data_dir: Path) -> int:
    """Takes the candidate of a data directory for this process, until the descriptor that is returned is closed.

    Raises:
        ActivationAborted: Somebody else has it.
    """
    descriptor = os.open(data_dir / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        raise ActivationAborted(
            f"another activation is under way in {data_dir} (process {holder}); wait until it is done, then run the command again"
        ) from None
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


def candidate_folder(data_dir: Path) -> Path:
    """Returns the folder, which need not be there."""
    return data_dir / FOLDER


def keep_candidate(data_dir: Path, candidate: Candidate) -> None:
    """Writes a candidate, its model included, in place of an earlier one; the snapshots stay.

    Raises:
        OSError: It cannot be written.
    """
    keep_model(data_dir, candidate.configuration)
    make_folder(candidate_folder(data_dir))
    told = {"configuration": candidate.configuration.content, "since": candidate.since}
    replace_file(candidate_folder(data_dir) / _FILE_NAME, json.dumps(told, separators=(",", ":")).encode())


def read_candidate(data_dir: Path) -> Candidate:
    """Reads what is to decide next.

    Raises:
        StartRefused: There is none that can be read.
        BundleError: Its model is gone or damaged.
    """
    path = candidate_folder(data_dir) / _FILE_NAME
    try:
        told = json.loads(path.read_bytes())
        content, since = str(told["configuration"]), int(told["since"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StartRefused(f"{path} tells of no configuration ({error}); run: riskengine features activate") from None
    return Candidate(configuration_from_content(content, models_dir=data_dir / MODELS_FOLDER), since)


def usable_headers(data_dir: Path) -> list[SnapshotHeader]:
    """Returns what `sound_headers` does, and the snapshots of the candidate, the newest first."""
    headers = [*sound_headers(data_dir), *sound_headers(data_dir, within=candidate_folder(data_dir))]
    return sorted(headers, key=lambda each: each.sequence, reverse=True)


def discard_candidate(
    data_dir: Path, *, keep: Path | None = None, pause: Callable[[int], None] = lambda size_bytes: None
) -> None:
    """Removes the candidate.

    Args:
        data_dir: The data directory.
        keep: A snapshot of the candidate that stays; with one, its configuration stays, too.
        pause: As of `write_snapshot`.

    Raises:
        OSError: The disk failed.
    """
    folder = candidate_folder(data_dir)
    if not folder.is_dir():
        return
    for path in snapshot_paths(folder):
        if path != keep:
            remove_snapshot(path, pause=pause)
    discard_partial(folder)
    if keep is None:
        for name in (_FILE_NAME, f"{_FILE_NAME}.tmp"):
            (folder / name).unlink(missing_ok=True)


def give_up_candidate(data_dir: Path, *, pause: Callable[[int], None]) -> bool:
    """Removes the candidate unless somebody prepares an activation just now.

    Args:
        data_dir: The data directory.
        pause: As of `write_snapshot`.

    Returns:
        Whether there is none any more.

    Raises:
        OSError: The disk failed.
    """
    if not candidate_folder(data_dir).is_dir():
        return True
    try:
        lock = hold_candidate(data_dir)
    except ActivationAborted:
        return False
    try:
        discard_candidate(data_dir, pause=pause)
        return True
    finally:
        os.close(lock)

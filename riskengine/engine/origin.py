"""Where a fold begins: with the newest snapshot that can be used, or with the beginning of the journal.

    a file that is damaged                        warning; an older one
    one of another journal                        warning; an older one
    one that does not stand on what the journal holds there   warning; an older one
    one that stands before what the journal keeps, or of other features, limits or kernels   told; an older one
    none is left, the journal holds all events    the journal from its beginning
    none is left, the journal was trimmed         refused, with what to do

INVARIANTS: nothing is written; a state is either that of a sound snapshot, by its digest, or empty. Called by
`engine.recovery`, `engine.rebuild` and the follower.
"""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from riskengine.engine.activation import Activation, state_key
from riskengine.engine.features import FeatureSet
from riskengine.engine.snapshot import (
    SnapshotDamaged,
    SnapshotHeader,
    load_snapshot,
    read_snapshot_header,
    snapshot_paths,
)
from riskengine.engine.state import State
from riskengine.errors import JournalCorrupt, StartRefused
from riskengine.journal.codec import decode_activation
from riskengine.journal.disk import OsDisk
from riskengine.journal.format import FrameKind
from riskengine.journal.reader import Activated, Anchor, JournalReader, segments
from riskengine.journal.scan import Scan
from riskengine.limits import EngineLimits

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Origin:
    """A state, and the place in the journal that it belongs to.

    Attributes:
        state: As of `anchor`.
        anchor: Where to read on; None for the beginning of the journal.
        activation: The last one known at `anchor`; None at the beginning.
        names: What earlier decisions refer to, by revision.
    """

    state: State
    anchor: Anchor | None
    activation: Activation | None
    names: dict[int, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Ahead:
    """A fold that was begun beside an engine that still decides: who takes over from it has the rest to do.

    Attributes:
        origin: How far it came.
        since: Sequence at which its history begins.
    """

    origin: Origin
    since: int


def sound_headers(data_dir: Path, *, within: Path | None = None) -> list[SnapshotHeader]:
    """Returns the headers of the snapshots of this journal, the newest first; warns of the others.

    Args:
        data_dir: The data directory; it has a journal.
        within: Folder that has the folder of the snapshots; the data directory by default.
    """
    journal_id = JournalReader(data_dir, live=True).journal_id
    headers = []
    for path in snapshot_paths(within or data_dir):
        try:
            header = read_snapshot_header(path)
        except SnapshotDamaged as error:
            _warn(path, error.message)
            continue
        if header.journal_id != journal_id:
            _warn(path, "it belongs to another journal")
            continue
        headers.append(header)
    return headers


def stands_on_journal(data_dir: Path, header: SnapshotHeader) -> bool:
    """Tells whether the journal still holds the place of a snapshot, with all that precedes it unchanged; says why not."""
    if header.anchor.segment_index < segments(data_dir)[0].index:
        logger.info("snapshot %s stands before what the journal keeps", header.path.name)
        return False
    try:
        next(iter(JournalReader(data_dir, start=header.anchor, live=True, chunk_rows_max=1)), None)
    except JournalCorrupt as error:
        _warn(header.path, f"the journal is not the one that it was made from: {error.message}")
        return False
    return True


def find_origin(
    data_dir: Path,
    headers: Sequence[SnapshotHeader],
    features: FeatureSet,
    limits: EngineLimits,
    *,
    since: int = 1,
    below: int | None = None,
) -> Origin:
    """Finds where to begin, and loads the state.

    Args:
        data_dir: The data directory; it has a journal.
        headers: From `sound_headers`.
        features: To fold under.
        limits: Likewise.
        since: Sequence at which the history begins.
        below: The state may hold only events before this sequence; None for any.

    Raises:
        StartRefused: No snapshot can be used and the journal begins behind `since`.
        JournalCorrupt: The journal's first segment is damaged.
    """
    key = state_key(features, limits, since=since)
    for header in headers:
        if below is not None and header.anchor.next_sequence > below:
            continue
        if header.key != key:
            logger.info("snapshot %s is of other features, limits or another version", header.path.name)
            continue
        if not stands_on_journal(data_dir, header):
            continue
        state = State(features, limits)
        try:
            load_snapshot(header.path, state)
        except SnapshotDamaged as error:
            _warn(header.path, error.message)
            continue
        return Origin(state, header.anchor, header.activation, header.names)
    require_whole(data_dir, since=since, below=below)
    return Origin(State(features, limits), None, None, {})


def activations_from(data_dir: Path, start: Anchor | None, *, until: int | None = None) -> Iterator[Activation]:
    """Yields the activations that the journal holds from a place on, without unpacking its events.

    Args:
        data_dir: The data directory; it may be in use.
        start: The place; None for the beginning.
        until: Sequence of the last event whose activation is wanted; None for all.
    """
    for frame in Scan(OsDisk(), data_dir, start=start, live=True).frames():
        if until is not None and frame.first_sequence > until:
            return
        if frame.kind == FrameKind.ACTIVATION:
            decoded = decode_activation(frame.body)
            assert decoded is not None, "the checksum of the frame is right"
            yield Activation.read(Activated(frame.first_sequence, *decoded))


def activation_at(data_dir: Path, headers: Sequence[SnapshotHeader], sequence: int | None) -> Activation:
    """Returns the activation that decides an event.

    Args:
        data_dir: The data directory; it may be in use.
        headers: From `sound_headers`.
        sequence: Of the event; None for the next one.

    Raises:
        StartRefused: Neither the journal nor a snapshot tells.
    """
    found, start = None, None
    for header in headers:
        known_from = max(header.anchor.next_sequence, header.activation.sequence)
        if (sequence is None or known_from <= sequence) and stands_on_journal(data_dir, header):
            found, start = header.activation, header.anchor
            break
    for each in activations_from(data_dir, start, until=sequence):
        if found is None or each.revision > found.revision:
            found = each
    if found is None:
        raise StartRefused(
            f"what decided sequence {sequence} is not known: the journal in {data_dir} begins later, and no snapshot before it "
            "can be used; restore its earlier files, or a snapshot, from a copy"
        )
    return found


def require_whole(data_dir: Path, *, since: int, below: int | None = None) -> None:
    """Raises StartRefused unless the journal holds every event from `since` on."""
    first = segments(data_dir)[0]
    if first.first_sequence <= since:
        return
    wanted = "the state" if below is None else f"the state before sequence {below}"
    raise StartRefused(
        f"{wanted} cannot be made: no snapshot in {data_dir} can be used (the log says why), and the journal begins with "
        f"{first.path.name} at byte 0, sequence {first.first_sequence}, not {since}. Start with the features.yaml, the "
        "limits and the version of the last start, or restore the journal's earlier files, or a snapshot, from a copy",
        metadata={"file": first.path.name, "offset": "0", "sequence": str(first.first_sequence)},
    )


def _warn(path: Path, reason: str) -> None:
    logger.warning("snapshot %s cannot be used: %s; an older one or the journal has to do", path.name, reason)

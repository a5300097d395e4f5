"""The errors that the engine raises on purpose, as one tree.

RiskEngineError                 message, reason, gRPC code; what to do is part of the message
├── InvalidRequest              a request that can never succeed as it is: all its violations
├── RequestIdReused             a known request_id with another payload
├── DecisionNotFound            no recent decision of that name
├── Unavailable                 the server cannot answer just now, or nobody is there: worth a retry
├── Overloaded                  a bound is reached: worth a retry after the given time
│   └── JournalFull             no space for the next frame: refused before state moved
├── InternalFault               a fault of ours: only an incident id leaves the process
├── ConfigError                 a configuration that cannot be used: all its problems
├── BundleError                 a model bundle that is damaged or does not fit
├── HistoryError                a history file that cannot be read or mapped
├── JournalCorrupt              bytes of the journal that are neither a frame nor a torn tail
├── JournalFault                a failed write or sync: the engine must end
├── StoreFault                  the decision store is damaged, or its disk fails
│   └── StoreFull               no space for the next file: nothing is lost, worth a retry
├── BackupUnusable              a backup that cannot be made or restored
├── QueryRefused                SQL over the decision store that cannot be answered
└── StartRefused                a second engine on one directory, a port in use, a missing file

An error of one package stands there: `expr.issues.ExpressionError`, `engine.candidate.ActivationAborted`,
`engine.link.LinkFault`, `engine.snapshot.SnapshotDamaged`, `journal.archive.ArchiveRefused`, `lab.find.DecisionNotJournaled`,
`server.waiting.DeadlineExceeded`, `server.waiting.NotSent`, `server.supervisor.CrashLoop`, `cli.failures.UsageProblem`.

INVARIANT: a message never echoes a value that a caller sent; it names the field. Raised anywhere; mapped to a gRPC
status by `wire.status` alone, to the exit status of a command by `cli.failures`, to that of a child process by
`engine.process`. A wrong name is answered by `nearest`, in the same words everywhere.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

DOMAIN = "riskengine.v1"


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing wrong with a request.

    Attributes:
        field: Path in the request as the proto names it, e.g. ``transaction.entities.ip_address``.
        reason: UPPER_SNAKE_CASE, e.g. ``FIELD_TOO_LONG``.
        description: What is expected, in words, without the offending value.
    """

    field: str
    reason: str
    description: str


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a configuration file.

    Attributes:
        file: Name of the file as the user knows it.
        line: 1-based line, 0 where none applies.
        column: 1-based column, 0 where none applies.
        message: What is wrong and, where one is near, the valid name.
    """

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        # A message may quote the file: what would break a line or steer a terminal is spelled out.
        shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in self.message)
        return f"{place}: {shown}"


class RiskEngineError(Exception):
    """The root. Programs tell errors apart by `reason`, which is stable, and by nothing else.

    Args:
        message: For people; says what to do next where something can be done.
        metadata: Parts of the message that a program may want by themselves, as strings; most errors have none.
    """

    reason = "INTERNAL"
    grpc_code = "INTERNAL"

    def __init__(self, message: str, *, metadata: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.metadata: dict[str, str] = dict(metadata or {})


class InvalidRequest(RiskEngineError):
    """A request that can never succeed as it is. Nothing was counted or journaled.

    Args:
        violations: All of them, at least one, in the order of the fields of the proto.
    """

    reason = "INVALID_REQUEST"
    grpc_code = "INVALID_ARGUMENT"

    def __init__(self, violations: Sequence[Violation]) -> None:
        assert violations, "an invalid request has a violation"
        first = violations[0]
        more = f" (and {len(violations) - 1} more)" if len(violations) > 1 else ""
        told = f"{first.field}: {first.description}" if first.field else first.description
        super().__init__(f"{told}{more}", metadata={"field": first.field})
        self.violations = tuple(violations)
        self.reason = first.reason


class RequestIdReused(RiskEngineError):
    """A known request_id came with another call or payload; the first one stands, this one is not counted."""

    reason = "REQUEST_ID_REUSED"
    grpc_code = "ALREADY_EXISTS"

    def __init__(self) -> None:
        super().__init__(
            "request_id is taken by another request, of another call or another payload, and nothing was counted now; "
            "only what is a new payment gets a new request_id"
        )


class DecisionNotFound(RiskEngineError):
    """No decision of that name is within the engine's recent decisions."""

    reason = "DECISION_NOT_FOUND"
    grpc_code = "NOT_FOUND"

    def __init__(self) -> None:
        super().__init__(
            "no recent decision has this name; check it, or raise limits.recent_decisions_max in server.yaml to keep more"
        )


class Unavailable(RiskEngineError):
    """Nobody can answer just now.

    `reason` is WARMING, DRAINING or ENGINE_AWAY; STREAM_IDLE for a stream that was not used; NOT_SERVING where no server was
    reached.
    """

    grpc_code = "UNAVAILABLE"

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Overloaded(RiskEngineError):
    """A bound is reached.

    Args:
        retry_after_s: When to come back, seconds, > 0.
    """

    reason = "OVERLOADED"
    grpc_code = "RESOURCE_EXHAUSTED"

    def __init__(self, message: str, *, retry_after_s: float = 0.05) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class JournalFull(Overloaded):
    """There is no space for the next frame; the request was refused before state moved."""

    reason = "JOURNAL_FULL"

    def __init__(self) -> None:
        super().__init__("the journal's disk is full; free space, service resumes by itself", retry_after_s=1.0)


class BackupUnusable(RiskEngineError):
    """A backup that cannot be made or restored; no data directory was changed."""

    reason = "BACKUP_UNUSABLE"
    grpc_code = "FAILED_PRECONDITION"


class InternalFault(RiskEngineError):
    """A fault of ours. The caller sees only the incident id, the log has the rest."""

    def __init__(self, incident_id: str) -> None:
        super().__init__(f"internal error, incident {incident_id}", metadata={"incident_id": incident_id})


class ConfigError(RiskEngineError):
    """A configuration that cannot be used.

    Args:
        problems: All of them, at least one, ordered by file, line and column.
    """

    reason = "CONFIG_INVALID"
    grpc_code = "FAILED_PRECONDITION"

    def __init__(self, problems: Sequence[Problem]) -> None:
        assert problems, "an invalid configuration has a problem"
        self.problems = tuple(sorted(problems, key=lambda p: (p.file, p.line, p.column, p.message)))
        super().__init__("\n".join(str(problem) for problem in self.problems))


class BundleError(RiskEngineError):
    """A model bundle that is damaged, or does not fit the features of this configuration."""

    reason = "MODEL_INVALID"
    grpc_code = "FAILED_PRECONDITION"


class HistoryError(RiskEngineError):
    """A history file that cannot be read or mapped."""

    reason = "HISTORY_INVALID"
    grpc_code = "FAILED_PRECONDITION"


class JournalCorrupt(RiskEngineError):
    """Bytes of the journal that are neither a valid frame nor a torn tail. The engine does not start over them.

    Attributes:
        file: The segment's name.
        offset: Byte offset of the damage within it.
        sequence: The first sequence number that can no longer be trusted.
    """

    reason = "JOURNAL_CORRUPT"
    grpc_code = "DATA_LOSS"

    def __init__(self, what: str, *, file: str, offset: int, sequence: int) -> None:
        super().__init__(
            f"journal {file}: {what} at byte {offset}, before sequence {sequence}; "
            "nothing was changed; restore the file from a copy, or see what would remain: riskengine journal repair",
            metadata={"file": file, "offset": str(offset), "sequence": str(sequence)},
        )
        self.file = file
        self.offset = offset
        self.sequence = sequence


class JournalFault(RiskEngineError):
    """A write or sync failed. Memory may be ahead of the disk: the engine ends, the restart replays."""

    reason = "JOURNAL_FAULT"


class StoreFault(RiskEngineError):
    """The decision store is damaged, its disk fails, or rows came that do not follow those it has. The journal has them all."""

    reason = "STORE_FAULT"


class StoreFull(StoreFault):
    """There is no space for the store's next file. Nothing was changed; the same call works when there is space again."""

    reason = "STORE_FULL"


class QueryRefused(RiskEngineError):
    """SQL over the decision store that cannot be answered; the message has the names that would have been right."""

    reason = "QUERY_REFUSED"
    grpc_code = "INVALID_ARGUMENT"


class StartRefused(RiskEngineError):
    """The process must not start as asked: the message says which directory, port or file.

    Args:
        reason: Another one, where a child process was refused by an error of its own, e.g. ``JOURNAL_CORRUPT``.
    """

    reason = "START_REFUSED"
    grpc_code = "FAILED_PRECONDITION"

    def __init__(
        self, message: str, *, reason: str = "START_REFUSED", metadata: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(message, metadata=metadata)
        self.reason = reason


def nearest(name: str, candidates: Iterable[str], *, prefix: str = "") -> str:
    """Says which valid name could have been meant, as the tail of a message.

    Args:
        name: As it was written.
        candidates: The valid names.
        prefix: What a valid name is written after, such as ``card.``.

    Returns:
        ``; did you mean "x"?`` for the nearest in spelling, whatever the case, or nothing when none is near.
    """
    folded = {candidate.lower(): candidate for candidate in candidates}
    close = get_close_matches(name.lower(), list(folded), n=1, cutoff=0.6)
    return f'; did you mean "{prefix}{folded[close[0]]}"?' if close else ""

"""Rows of EVENT and DECISION to the table of `columns`, a column at a time.

INVARIANTS: no loop over rows; nothing is read but the rows and the names of their revision, so the same rows give the same
table.

Called by `store`.
"""

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from riskengine.enums import (
    Channel,
    DecisionFlag,
    EntryMode,
    Initiation,
    IssuerOutcome,
    Kind,
    OutcomeType,
    Stage,
    TransactionType,
    Verdict,
    VerificationMethod,
    VerificationResult,
)
from riskengine.types import MISSING, REASON_WORDS, REASONS_MAX, RULE_WORDS, TAG_COLUMNS

from .block import Block
from .columns import COLUMNS, KIND_NAMES, REASON, SCHEMA, TIME
from .names import CodeTexts, RevisionWords, enum_vocabulary, lists_of, offsets_of, taken, vocabulary

_ENUMS: Final = {
    "type": ("transaction_type", enum_vocabulary(TransactionType)),
    "channel": ("channel", enum_vocabulary(Channel)),
    "entry_mode": ("entry_mode", enum_vocabulary(EntryMode)),
    "initiation": ("initiation", enum_vocabulary(Initiation)),
    "issuer_outcome": ("issuer_outcome", enum_vocabulary(IssuerOutcome)),
    "outcome_type": ("outcome_type", enum_vocabulary(OutcomeType)),
    "recorded_verdict": ("recorded_verdict", enum_vocabulary(Verdict)),
    **{
        f"verified_{method.name.lower()}": (f"verified_{method.name.lower()}", enum_vocabulary(VerificationResult))
        for method in VerificationMethod
    },
}
"""Columns of text to the column of EVENT that holds their number."""
_CODES: Final = {
    "currency_code": "currency",
    "issuer_code": "issuer_code",
    "merchant_category_code": "merchant_category",
    "card_bin": "card_bin",
    **{f"{name}_region_code": f"{name}_region" for name in ("card", "ip", "merchant", "payee", "billing", "shipping")},
}
_KINDS: Final = vocabulary(KIND_NAMES.get(Kind(number)) if number else None for number in range(max(Kind) + 1))
_VERDICTS: Final = enum_vocabulary(Verdict)
_STAGES: Final = vocabulary(stage.name for stage in Stage)
_MODES: Final = vocabulary([None, "LIVE", "SHADOW"])
_NAME_HEAD: Final = np.frombuffer(b"decisions/", np.uint8)
_NAME_BYTES: Final = len(_NAME_HEAD) + 32
_HEX: Final = np.frombuffer(b"".join(b"%02x" % byte for byte in range(256)), np.uint16)
"""The two digits of each byte."""
Column = Callable[[Any], pa.Array]


class TableBuilder:
    """Turns rows into tables. Not to be shared by threads."""

    def __init__(self) -> None:
        self._codes = CodeTexts()
        self._revisions: dict[int, RevisionWords] = {}

    def learn(self, revisions: npt.NDArray[np.int64], names: Mapping[int, Mapping[str, Any]]) -> None:
        """Takes in the names of revisions that are not known yet.

        Args:
            revisions: Of some rows.
            names: By revision; holds all of them.
        """
        for revision in np.unique(revisions).tolist():
            if revision not in self._revisions:
                self._revisions[revision] = RevisionWords(names[revision])

    def table(self, events: Block, decisions: Block) -> pa.Table:
        """Builds the table of some rows.

        Args:
            events: n rows of EVENT, n >= 1.
            decisions: The rows of DECISION on them, of revisions that were learned and that never fall.

        Returns:
            A table of `columns.SCHEMA` with n rows.
        """
        cuts = np.flatnonzero(np.diff(decisions["revision"])) + 1
        bounds = [0, *cuts.tolist(), len(events)]
        pieces = [self._of_one_revision(events.part(*span), decisions.part(*span)) for span in pairwise(bounds)]
        return pa.Table.from_batches(pieces, SCHEMA)

    def _of_one_revision(self, events: Block, decisions: Block) -> pa.RecordBatch:
        names = self._revisions[int(decisions["revision"][0])]
        columns = {
            **_plain(events),
            **{name: taken(texts, events[source]) for name, (source, texts) in _ENUMS.items()},
            **{name: self._codes.column(events[source]) for name, source in _CODES.items()},
            **_decided(decisions, names),
            "reasons": _reasons(decisions, names),
            "numbers": _numbers(events, names),
            "labels": self._labels(events, names),
            "base_currency_code": taken(
                vocabulary([None, names.base_currency]), (events["amount_base_minor"] != MISSING).astype(np.int8)
            ),
            **_constants(names, len(events)),
        }
        return pa.RecordBatch.from_arrays([columns[column.name] for column in COLUMNS], schema=SCHEMA)

    def _labels(self, events: Block, names: RevisionWords) -> pa.Array:
        codes = events.matrix("label_0", len(names.labels))
        return _map(codes, codes != 0, names.labels, self._codes.column)


def _plain(events: Block) -> dict[str, pa.Array]:
    """Returns the columns that are in both: numbers, times and tags."""
    tags = ("transaction_tag", "original_transaction_tag", *TAG_COLUMNS)
    return {
        "sequence": pa.array(events["sequence"]),
        "kind": taken(_KINDS, events["kind"]),
        "decision": _decision_names(events),
        "received_time": pa.array(events["received_time_us"]).cast(TIME),
        "event_time": pa.array(events["event_time_us"]).cast(TIME),
        "account_open_time": _integers(events["account_open_time_us"]).cast(TIME),
        "utc_offset_minutes": _integers(events["utc_offset_minutes"]).cast(pa.int32()),
        **{name: _integers(events[name]) for name in ("amount_minor", "amount_base_minor")},
        **{name: _floats(events[name]) for name in ("latitude_degrees", "longitude_degrees")},
        **{name: pa.array(events[name], mask=events[name] == 0) for name in tags},
    }


def _decided(decisions: Block, names: RevisionWords) -> dict[str, pa.Array]:
    """Returns the columns of decisions that are one value or a list of names."""
    flags, kinds = decisions["flags"], decisions["kind"]
    scored, reported = kinds == Kind.SCORE, kinds == Kind.OUTCOME
    modelled = np.where(flags & DecisionFlag.MODEL_LIVE, 1, np.where(flags & DecisionFlag.MODEL_SHADOW, 2, 0))
    rules = {
        f"{word}_rules": [decisions[f"{word}_{part}"] for part in range(RULE_WORDS)]
        for word in ("fired", "shadow", "unevaluated")
    }
    sets = {
        "degraded_stages": ([decisions["degraded_stages"]], _STAGES),
        "obligations": ([decisions["obligations"]], names.obligations),
        "list_hits": ([decisions["list_hits"]], names.lists),
        **{name: (parts, names.rules) for name, parts in rules.items()},
    }
    return {
        "verdict": taken(_VERDICTS, decisions["verdict"]),
        "probability": _floats(decisions["probability"], scored),
        "margin": _floats(decisions["margin"], scored).cast(pa.float32()),
        "model_mode": taken(_MODES, modelled * scored),
        "segment": pa.DictionaryArray.from_arrays(
            pa.array(decisions["segment"].astype(np.int32), mask=~scored), names.segments
        ).cast(pa.string()),
        "folded": pa.array(flags & DecisionFlag.FOLDED != 0, mask=reported),
        "approximate": pa.array(flags & DecisionFlag.APPROXIMATE != 0, mask=~scored),
        "matched": pa.array(flags & DecisionFlag.MATCHED != 0, mask=~reported),
        "revision": pa.array(decisions["revision"].astype(np.int32)),
        **{name: lists_of(parts, texts) for name, (parts, texts) in sets.items()},
    }


def _reasons(decisions: Block, names: RevisionWords) -> pa.Array:
    """Returns the reasons of each row, in order."""
    counts = decisions["reason_count"]
    given = np.flatnonzero(counts)
    within = np.arange(REASONS_MAX) < counts[given, None]
    every = decisions.matrix("reason_0_code", REASONS_MAX * REASON_WORDS)[:, given].T
    numbers = every.reshape(len(given), REASONS_MAX, REASON_WORDS)[within]
    floats = numbers.view(np.float64)
    features = numbers[:, 1]
    parts = [
        taken(names.reasons, numbers[:, 0]),
        taken(names.features, np.where(features < 0, len(names.features) - 1, features)),
        _floats(floats[:, 2]),
        _floats(floats[:, 3]),
        pa.array(floats[:, 4]),
    ]
    offsets = offsets_of(given[np.nonzero(within)[0]], len(counts))
    return pa.ListArray.from_arrays(offsets, pa.StructArray.from_arrays(parts, fields=list(REASON)))


def _numbers(events: Block, names: RevisionWords) -> pa.Array:
    values = events.matrix("number_0", len(names.numbers)).view(np.float64)
    return _map(values, ~np.isnan(values), names.numbers, pa.array)


def _map(values: npt.NDArray[Any], given: npt.NDArray[np.bool_], keys: pa.Array, column: Column) -> pa.Array:
    """Returns the values that are given, row by row, under their keys.

    Args:
        values: Of shape (k, n).
        given: bool[k, n].
        keys: string[k].
        column: Makes an Arrow array of the values of one dimension.
    """
    rows, members = np.nonzero(given.T)
    return pa.MapArray.from_arrays(
        offsets_of(rows, given.shape[1]), taken(keys, members), column(values[members, rows])
    )


def _constants(names: RevisionWords, count: int) -> dict[str, pa.Array]:
    values = {
        "policy": names.policy,
        "policy_revision": names.policy_revision,
        "model": names.model,
        "model_revision": names.model_revision,
    }
    return {name: pa.repeat(pa.scalar(value, pa.string()), count) for name, value in values.items()}


def _decision_names(events: Block) -> pa.Array:
    """Returns the resource names, as `wire.reply.decision_name` writes them: the digits of both keys, the highest first."""
    count = len(events)
    text = np.empty((count, _NAME_BYTES), np.uint8)
    text[:, : len(_NAME_HEAD)] = _NAME_HEAD
    keys = np.stack([events["request_key"], events["request_check"]], axis=1).byteswap().view(np.uint8)
    text[:, len(_NAME_HEAD) :] = _HEX[keys].view(np.uint8).reshape(count, 32)
    offsets = np.arange(0, (count + 1) * _NAME_BYTES, _NAME_BYTES, dtype=np.int32)
    return pa.StringArray.from_buffers(count, pa.py_buffer(offsets), pa.py_buffer(text))


def _integers(values: npt.NDArray[np.int64]) -> pa.Array:
    return pa.array(values, mask=values == MISSING)


def _floats(values: npt.NDArray[np.float64], where: npt.NDArray[np.bool_] | bool = True) -> pa.Array:
    return pa.array(values, mask=~(where & ~np.isnan(values)))

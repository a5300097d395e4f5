"""History rows to packed events, by column: what `wire.door` does to one request, done to thousands of rows.

Each distinct value of a chunk is judged, tagged or coded once; rows then look it up. A row that the door would refuse
is left out and told, never repaired.

INVARIANTS: a packed row equals the door's for the same request in every word but those that a history has no say in:
sequence 0, received_time_us the event time, skip_stages 0, payload_hash 0 (a test compares them). The request key is
that of a request whose request_id is the transaction_id.

Called by `lab.features`, for training and for the demo's warm start.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

import numpy as np
import pyarrow as pa

from riskengine.enums import Kind
from riskengine.types import MISSING, Array, Ints, pack_code
from riskengine.wire.money import load_rates
from riskengine.wire.pseudonyms import Pseudonyms, TagKey

from .rows import ENTITY_COLUMNS, Judge, RowProblem, Work, fill_clear, judge_of

MEMO_MAX: Final = 1 << 20
"""Identifiers of one kind remembered between batches."""


@dataclass(frozen=True, slots=True)
class Packed:
    """A batch as events.

    Attributes:
        events: EVENT rows of the good rows, in order.
        rows: int64, shape (len(events),): each one's 0-based row in the batch.
        problems: What is wrong with the others, by row; a row can have several.
    """

    events: Array
    rows: Ints
    problems: list[RowProblem]


class EventPacker:
    """Packs batches of a history. The arguments are those of the `Door` that serves the same configuration.

    Args:
        key: The secret of all tags.
        base_currency: ISO 4217 code that amounts are converted to.
        rates: Units of the base currency for one unit of each accepted currency.
        number_slots: Declared keys of numbers to their slots.
        label_slots: Declared keys of labels to their slots.
        pan_exempt_fields: Identifiers in which a bare card number is not looked for.

    Raises:
        ValueError: A rate cannot be used.
    """

    def __init__(
        self,
        key: TagKey,
        *,
        base_currency: str,
        rates: Mapping[str, Decimal | str],
        number_slots: Mapping[str, int],
        label_slots: Mapping[str, int],
        pan_exempt_fields: frozenset[str] = frozenset(),
    ) -> None:
        self._rates = load_rates(base_currency=base_currency, rates=rates)
        self._number_slots = dict(number_slots)
        self._label_slots = dict(label_slots)
        self._transaction = key.hasher("transaction")
        self._request = key.hasher("request", digest_size=16)
        pseudonyms = Pseudonyms(key)
        self._memos: dict[tuple[str, str], _TagMemo] = {
            (column, entity): _TagMemo(pseudonyms, entity, judge_of(column, judge, pan_exempt_fields))
            for column, entities, judge, _ in ENTITY_COLUMNS
            for entity in entities
        }

    def pack(self, batch: pa.RecordBatch, *, kind: Kind = Kind.SCORE) -> Packed:
        """Packs a batch.

        Args:
            batch: Of the history schema, every column present (as `HistoryReader.batches` yields).
            kind: SCORE, or RECORD for events decided elsewhere.

        Returns:
            The events and what had to be left out.
        """
        work = Work(batch)
        work.events["kind"] = int(kind)
        work.events["received_time_us"] = work.integers("event_time")
        fill_clear(work, currencies=self._rates, number_slots=self._number_slots, label_slots=self._label_slots)
        self._keys(work)
        self._entities(work)
        self._base_amounts(work.events)
        rows = np.flatnonzero(~work.bad)
        events = work.events if len(rows) == batch.num_rows else work.events[rows]
        return Packed(events, rows, work.sorted_problems())

    def _keys(self, work: Work) -> None:
        """Fills the tags of the transactions and the request keys."""
        for column, target in (
            ("transaction_id", "transaction_tag"),
            ("original_transaction_id", "original_transaction_tag"),
        ):
            given, texts = work.ids(column)
            tags = np.frombuffer(_digests(self._transaction, texts), "<u8")
            work.events[target][given] = np.where(tags == 0, np.uint64(1), tags)
            if column == "transaction_id":
                halves = np.frombuffer(_digests(self._request, texts), "<u8").reshape(-1, 2)
                work.events["request_key"][given] = np.where(halves[:, 0] == 0, np.uint64(1), halves[:, 0])
                work.events["request_check"][given] = halves[:, 1]
        work.refuse("transaction_id", work.events["transaction_tag"] == 0, "must be given")

    def _entities(self, work: Work) -> None:
        """Fills the tags of the entities and of what is derived from them."""
        nothing = np.ones(len(work.events), np.bool_)
        for column, entities, _, description in ENTITY_COLUMNS:
            texts = work.texts(column)
            present = texts.indices >= 0
            for entity in entities:
                memo = self._memos[column, entity]
                memo.bound()
                tags = np.fromiter(map(memo.__getitem__, texts.values), np.uint64, len(texts.values))
                work.events[f"{entity}_tag"] = np.concatenate((tags, np.zeros(1, np.uint64)))[texts.indices]
            # An identifier that is there and has no tag was not fine.
            work.refuse(column, present & (work.events[f"{entities[0]}_tag"] == 0), description)
            nothing &= ~present
        work.refuse_nameless(nothing)

    def _base_amounts(self, events: Array) -> None:
        """Fills the amounts in the base currency."""
        amounts = np.ascontiguousarray(events["amount_minor"])
        base = np.full(len(amounts), MISSING)
        for code, rate in self._rates.items():
            rows = np.flatnonzero(events["currency"] == pack_code(code))
            base[rows] = rate.convert_column(amounts[rows])
        events["amount_base_minor"] = base


class _TagMemo(dict[str, int]):
    """Identifiers of one kind to their tags, kept from batch to batch; 0 for one that is not fine.

    Args:
        pseudonyms: What makes tags.
        entity: Name of the entity type.
        judge: Whether a text is fine.
    """

    def __init__(self, pseudonyms: Pseudonyms, entity: str, judge: Judge) -> None:
        super().__init__()
        self._pseudonyms = pseudonyms
        self._entity = entity
        self._judge = judge

    def __missing__(self, text: str) -> int:
        tag = self[text] = self._pseudonyms.tag(self._entity, text) if text and self._judge(text) else 0
        return tag

    def bound(self) -> None:
        """Forgets everything when too much is kept."""
        if len(self) > MEMO_MAX:
            self.clear()


def _digests(hasher: Any, texts: list[str]) -> bytes:
    """Returns the keyed digests of texts, one after the other."""
    made = []
    for text in texts:
        copy = hasher.copy()
        copy.update(text.encode())
        made.append(copy.digest())
    return b"".join(made)

"""Plain versions of the engine's kernels: every answer from all earlier events, with no table, curve or index.

The definition of velocity and linkage in O(n) for each event, for streams that stay below every bound.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import networkx as nx
import numpy as np

from riskengine.engine.features import FeaturesFile
from riskengine.engine.kernels import SUMMARY_FOLDED_ONLY, SUMMARY_MODEL_SKIPPED, SUMMARY_SCORED
from riskengine.enums import DecisionFlag, Kind, ReplyStatus, Stage
from riskengine.linkage.plan import Linkage
from riskengine.tables.layout import MEMORY_US
from riskengine.types import DECISION, ENTITIES, MISSING, TAG_COLUMNS
from riskengine.velocity import layout
from riskengine.velocity.plan import kept_us
from riskengine.velocity.schema import Measure, Profile, window_us

from .velocity import log2_fixed

VALUE_MAX = float(layout.VALUE_MAX)
Condition = Callable[[np.void], bool]
Answers = dict[str, float]


class History:
    """All folded events so far, by entity.

    Args:
        kept_us: By entity type, how long an idle entity is remembered, microseconds.
        lateness_us: How late an event is still folded.
    """

    def __init__(self, kept_us: Mapping[str, int], lateness_us: int) -> None:
        self.kept_us = kept_us
        self.lateness_us = lateness_us
        self.events: dict[tuple[str, int], list[np.void]] = {}
        self.links: nx.Graph[tuple[str, int]] = nx.Graph()
        self.newest_us = -(2**62)

    def of(self, entity: str, event: np.void) -> list[np.void]:
        return self.events.get((entity, int(event[f"{entity}_tag"])), [])

    def add(self, event: np.void) -> None:
        for entity in ENTITIES:
            if event[f"{entity}_tag"]:
                self.events.setdefault((entity, int(event[f"{entity}_tag"])), []).append(event)

    def erase(self, command: np.void) -> None:
        """Puts the tombstone in the place of each tag, everywhere."""
        tombstone = command["original_transaction_tag"]
        nodes: dict[tuple[str, int], tuple[str, int]] = {}
        for entity in ENTITIES:
            tag = command[f"{entity}_tag"]
            if not tag:
                continue
            for event in {id(e): e for events in self.events.values() for e in events}.values():
                if event[f"{entity}_tag"] == tag:
                    event[f"{entity}_tag"] = tombstone
            if (entity, int(tag)) in self.events:
                self.events[entity, int(tombstone)] = self.events.pop((entity, int(tag)))
            nodes[entity, int(tag)] = entity, int(tombstone)
        self.links = nx.relabel_nodes(self.links, nodes)


@dataclass(frozen=True)
class Measured:
    """A measure with what its names mean.

    Attributes:
        measure: As it is declared.
        conditions: What each CEL text means.
        numbers: Slot of each of the caller's numbers.
    """

    measure: Measure
    conditions: Mapping[str, Condition]
    numbers: Mapping[str, int]

    @property
    def scale(self) -> int:
        """A number of the caller's is kept in millionths, an amount as it is."""
        return 1 if self.measure.of == "txn.amount" else 1_000_000

    def _of(self, event: np.void) -> float | None:
        """Returns what is measured, None where the event has none."""
        if self.measure.of == "txn.amount":
            amount = int(event["amount_base_minor"])
            return None if amount == MISSING else float(amount)
        assert self.measure.of is not None
        number = float(event[f"number_{self.numbers[self.measure.of.removeprefix('numbers.')]}"])
        return None if math.isnan(number) else number

    def value(self, event: np.void) -> int:
        """Returns what a sum adds, in units of 1 / scale, within what may be added up."""
        return round(max(-VALUE_MAX, min((self._of(event) or 0.0) * self.scale, VALUE_MAX)))

    def log(self, event: np.void) -> int:
        """Returns the logarithm as it is kept, of the whole units."""
        return log2_fixed(round(max(0.0, min(self._of(event) or 0.0, VALUE_MAX))))

    def counts(self, event: np.void) -> bool:
        """Tells whether an event counts: its condition holds, and it has what is measured."""
        if self.measure.when is not None and not self.conditions[self.measure.when](event):
            return False
        return self.measure.of is None or self._of(event) is not None

    def inside(self, events: list[np.void], window: str, time_us: int) -> list[np.void]:
        """Returns the events of a window that count."""
        end = time_us - (window_us(self.measure.delay) if self.measure.delay else 0)
        start = end - window_us(window)
        return [e for e in events if start < e["event_time_us"] <= end and self.counts(e)]


def _measure(answers: Answers, prefix: str, measured: Measured, event: np.void, earlier: list[np.void]) -> None:
    measure = measured.measure
    time_us = int(event["event_time_us"])
    with_own = [*earlier, event]
    for window in measure.count:
        answers[f"{prefix}_count_{window}"] = float(len(measured.inside(with_own, window, time_us)))
    for window in measure.sum:
        total = sum(measured.value(e) for e in measured.inside(with_own, window, time_us))
        answers[f"{prefix}_sum_{window}"] = total / float(measured.scale)
    for window in measure.mean:
        values = [measured.value(e) for e in measured.inside(earlier, window, time_us)]
        if values:
            answers[f"{prefix}_mean_{window}"] = sum(values) / float(len(values)) / float(measured.scale)
    for window in {*measure.std, *measure.zscore}:
        logs = [measured.log(e) for e in measured.inside(earlier, window, time_us)]
        if len(logs) < layout.STD_EVENTS_MIN:
            continue
        mean = sum(logs) / float(len(logs))
        squares = sum(log * log for log in logs) / float(len(logs))
        spread = math.sqrt(max(squares - mean * mean, 0.0)) / 4096
        if window in measure.std:
            answers[f"{prefix}_std_{window}"] = spread
        if window in measure.zscore and measured.counts(event) and not measure.delay:
            own = measured.log(event) / 4096
            answers[f"{prefix}_zscore_{window}"] = (own - mean / 4096) / max(spread, layout.STD_FLOOR)
    if measure.since_last:
        times = [int(e["event_time_us"]) for e in earlier if measured.counts(e)]
        times = [time for time in times if time_us - MEMORY_US < time <= time_us]
        if times:
            answers[f"{prefix}_since_last_s"] = (time_us - max(times)) / 1e6


def _distinct(
    answers: Answers, entity: str, members: list[str], windows: Any, event: np.void, seen: list[np.void]
) -> None:
    seen = [e for e in seen if e["kind"] != Kind.OUTCOME]
    for member in members:
        last: dict[int, int] = {}
        for e in seen:
            tag = int(e[f"{member}_tag"])
            if tag:
                last[tag] = max(last.get(tag, MISSING), int(e["event_time_us"]))
        for window in windows[member]:
            since = int(event["event_time_us"]) - window_us(window)
            answers[f"{entity}.{member}_distinct_{window}"] = float(sum(time > since for time in last.values()))


def _degree(history: History, owner: str, member: str, tag: int) -> int:
    since = history.newest_us - history.kept_us[owner] - history.lateness_us
    events = [e for e in history.events.get((owner, tag), []) if e["event_time_us"] > since]
    return len({int(e[f"{member}_tag"]) for e in events if e["kind"] != Kind.OUTCOME and e[f"{member}_tag"]})


def _join(history: History, linkage: Linkage, event: np.void) -> None:
    """Joins the event's entities where neither is over its cap. The event is in the history already."""
    for one, other in linkage.strong:
        tags = int(event[f"{one}_tag"]), int(event[f"{other}_tag"])
        if not all(tags):
            continue
        nodes = (one, tags[0]), (other, tags[1])
        history.links.add_nodes_from(nodes)
        over = [
            _degree(history, owner, member, tag) > linkage.cap(owner)
            for owner, member, tag in ((one, other, tags[0]), (other, one, tags[1]))
        ]
        if not any(over):
            history.links.add_edge(*nodes)


def _linkage(answers: Answers, history: History, linkage: Linkage, event: np.void) -> None:
    for entity in linkage.component_size:
        node = (entity, int(event[f"{entity}_tag"]))
        if history.of(entity, event):
            size = len(nx.node_connected_component(history.links, node)) if node in history.links else 1
            answers[f"{entity}.component_size"] = float(size)
    for entity in linkage.over_degree_cap:
        members = [pair[1 - pair.index(entity)] for pair in linkage.strong if entity in pair]
        cap = linkage.cap(entity)
        if history.of(entity, event) and members:
            tag = int(event[f"{entity}_tag"])
            over = any(_degree(history, entity, member, tag) > cap for member in members)
            answers[f"{entity}.over_degree_cap"] = float(over)


def fold_events(
    file: FeaturesFile, events: np.ndarray, conditions: Mapping[str, Condition], lateness_us: int, ring_rows: int
) -> tuple[list[Answers], list[int]]:
    """Folds events in order and answers for each scored one.

    Args:
        file: What is measured.
        events: Rows of EVENT.
        conditions: What each CEL text of the file means.
        lateness_us: How late an event is still folded.
        ring_rows: Commands that idempotency remembers; who may repeat a forgotten one is not folded.

    Returns:
        For each event the features that are present, by name, without those of the event alone; and the FOLDED bit.
    """
    kept = {entity: kept_us(file.profiles.get(entity, Profile())) for entity in ENTITIES}
    history = History(kept, lateness_us)
    numbers = {key: slot for slot, key in enumerate(file.inputs.numbers)}
    told: list[Answers] = []
    flags: list[int] = []
    for index, event in enumerate(events.copy()):
        answers: Answers = {}
        time_us = int(event["event_time_us"])
        if event["kind"] == Kind.ERASE:
            history.erase(event)
            told.append(answers)
            flags.append(int(DecisionFlag.FOLDED))
            continue
        forgotten = events["event_time_us"][: max(0, index + 1 - ring_rows)]
        fold = history.newest_us - time_us <= lateness_us and not (forgotten >= time_us).any()
        earlier = {entity: list(history.of(entity, event)) for entity in ENTITIES}
        if fold:
            history.newest_us = max(history.newest_us, time_us)
            history.add(event)
            if event["kind"] != Kind.OUTCOME:
                _join(history, file.linkage, event)
        if event["kind"] == Kind.SCORE and not event["skip_stages"] & Stage.VELOCITY:
            for entity, profile in file.profiles.items():
                if not event[f"{entity}_tag"]:
                    continue
                for name, measure in profile.measures.items():
                    measured = Measured(measure, conditions, numbers)
                    _measure(answers, f"{entity}.{name}", measured, event, earlier[entity])
                if profile.first_seen and fold and earlier[entity]:
                    first_us = min(int(e["event_time_us"]) for e in earlier[entity])
                    answers[f"{entity}.first_seen_age_s"] = max(time_us - first_us, 0) / 1e6
                if history.of(entity, event):
                    _distinct(
                        answers, entity, list(profile.distinct), profile.distinct, event, history.of(entity, event)
                    )
                for member in profile.new:
                    if fold and event[f"{member}_tag"]:
                        since = time_us - kept[entity]
                        known = {
                            int(e[f"{member}_tag"])
                            for e in earlier[entity]
                            if e["kind"] != Kind.OUTCOME and e["event_time_us"] > since
                        }
                        answers[f"{entity}.new_{member}"] = float(int(event[f"{member}_tag"]) not in known)
        if event["kind"] == Kind.SCORE and not event["skip_stages"] & Stage.LINKAGE:
            _linkage(answers, history, file.linkage, event)
        told.append(answers)
        flags.append(int(DecisionFlag.FOLDED) if fold else 0)
    return told, flags


def begin_decisions(events: np.ndarray, flags: np.ndarray, revision: int) -> tuple[np.ndarray, int]:
    """Returns the decisions as they begin, and what the batch is made of."""
    decisions = np.zeros(len(events), DECISION)
    for name in ("sequence", "kind", "received_time_us", "request_key", "request_check", "payload_hash"):
        decisions[name] = events[name]
    decisions["revision"] = revision
    decisions["probability"] = decisions["margin"] = np.nan
    scored = events["kind"] == Kind.SCORE
    decisions["degraded_stages"] = np.where(scored, events["skip_stages"], 0)
    known = np.any([events[name] != 0 for name in TAG_COLUMNS], axis=0)
    matched = known & (events["kind"] == Kind.OUTCOME)
    decisions["flags"] = flags | np.where(matched, int(DecisionFlag.MATCHED), 0)
    summary = (
        (SUMMARY_SCORED if scored.any() else 0)
        | (SUMMARY_FOLDED_ONLY if (~scored).any() else 0)
        | (SUMMARY_MODEL_SKIPPED if (scored & (events["skip_stages"] & Stage.MODEL != 0)).any() else 0)
    )
    return decisions, summary


def tell_model(events: np.ndarray, margin: np.ndarray, probability: np.ndarray) -> list[tuple[float, float] | None]:
    """Returns what the model says of each event, None where the deadline had no time for it."""
    skips = (events["skip_stages"] & Stage.MODEL) != 0
    return [
        None if skip else (float(own_margin), float(own_probability))
        for skip, own_margin, own_probability in zip(skips, margin, probability, strict=True)
    ]


def screen(requests: list[tuple[int, int, int]], known: dict[tuple[int, int], int]) -> list[ReplyStatus]:
    """Tells new requests from repeated ones.

    Args:
        requests: (request_key, request_check, payload_hash) in order.
        known: Payload by (key, check); changed.
    """
    statuses = []
    for key, check, payload in requests:
        if (key, check) not in known:
            known[key, check] = payload
            statuses.append(ReplyStatus.DECIDED)
        else:
            statuses.append(ReplyStatus.REPEATED if known[key, check] == payload else ReplyStatus.REUSED)
    return statuses


def settle(
    keys: list[tuple[int, int]], statuses: list[ReplyStatus], decided: list[int], stored: dict[tuple[int, int], int]
) -> list[int]:
    """Stores what was decided of the new requests, and answers all.

    Args:
        keys: (request_key, request_check) in order.
        statuses: From `screen`.
        decided: Decisions of the new ones, in order.
        stored: Decision by request; changed.
    """
    new = iter(decided)
    for key, status in zip(keys, statuses, strict=True):
        if status == ReplyStatus.DECIDED:
            stored[key] = next(new)
    return [stored[key] for key in keys]


def remember(rows: list[tuple[int, int, int]], known: dict[tuple[int, int], int]) -> None:
    """Takes requests as journaled."""
    known.update({(key, check): payload for key, check, payload in rows})


def lookup(wanted: list[tuple[int, int]], known: dict[tuple[int, int], int]) -> list[bool]:
    """Tells which requests are known."""
    return [pair in known for pair in wanted]

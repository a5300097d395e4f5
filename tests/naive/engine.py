"""Plain versions of the engine's kernels: every answer from all earlier events, with no table, curve or index.

The definition of velocity and linkage in O(n) for each event, for streams that stay below every bound.
"""

from collections.abc import Mapping
from typing import Any

import networkx as nx
import numpy as np

from riskengine.engine.features import FeaturesFile
from riskengine.engine.kernels import SUMMARY_FOLDED_ONLY, SUMMARY_MODEL_SKIPPED, SUMMARY_SCORED
from riskengine.enums import DecisionFlag, Kind, ReplyStatus, Stage
from riskengine.linkage.plan import Linkage
from riskengine.types import DECISION, ENTITIES, MISSING, TAG_COLUMNS
from riskengine.velocity.plan import kept_us
from riskengine.velocity.schema import Profile, window_us

from .answers import Answers, Condition, Measured, measure_answers, place_answers
from .registers import fields_tag


class History:
    """All folded events so far, by entity.

    Args:
        keys: Declared entity types, as columns of the event.
        kept_us: By entity type, how long an idle entity is remembered, microseconds.
        lateness_us: How late an event is still folded.
    """

    def __init__(self, keys: Mapping[str, list[str]], kept_us: Mapping[str, int], lateness_us: int) -> None:
        self.keys = keys
        self.kept_us = kept_us
        self.lateness_us = lateness_us
        self.events: dict[tuple[str, int], list[np.void]] = {}
        self.links: nx.Graph[tuple[str, int]] = nx.Graph()
        self.newest_us = -(2**62)

    def tag(self, entity: str, event: np.void) -> int:
        if entity in self.keys:
            return fields_tag([int(event[column]) for column in self.keys[entity]])
        return int(event[f"{entity}_tag"])

    def of(self, entity: str, event: np.void) -> list[np.void]:
        return self.events.get((entity, self.tag(entity, event)), [])

    def add(self, event: np.void) -> None:
        for entity in (*ENTITIES, *self.keys):
            if self.tag(entity, event):
                self.events.setdefault((entity, self.tag(entity, event)), []).append(event)

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
        for entity, tag in [node for node in self.events if node[0] in self.keys]:
            events = self.events.pop((entity, tag))
            self.events[entity, self.tag(entity, events[0])] = events


def _distinct(
    answers: Answers, entity: str, members: list[str], windows: Any, event: np.void, history: History
) -> None:
    seen = [e for e in history.of(entity, event) if e["kind"] != Kind.OUTCOME]
    for member in members:
        last: dict[int, int] = {}
        for e in seen:
            tag = history.tag(member, e)
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


def column_of(field: str) -> str:
    """Returns the event's column of a key's field: an entity's tag, or a code that is called as it stands there."""
    return f"{field}_tag" if field in ENTITIES else field


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
    keys = {name: [column_of(field) for field in fields] for name, fields in file.keys.items()}
    kept = {entity: kept_us(file.profiles.get(entity, Profile())) for entity in (*ENTITIES, *keys)}
    history = History(keys, kept, lateness_us)
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
        earlier = {entity: list(history.of(entity, event)) for entity in (*ENTITIES, *file.keys)}
        if fold:
            history.newest_us = max(history.newest_us, time_us)
            history.add(event)
            if event["kind"] != Kind.OUTCOME:
                _join(history, file.linkage, event)
        if event["kind"] == Kind.SCORE and not event["skip_stages"] & Stage.VELOCITY:
            for entity, profile in file.profiles.items():
                if not history.tag(entity, event):
                    continue
                for name, measure in profile.measures.items():
                    measured = Measured(measure, conditions, numbers)
                    measure_answers(answers, f"{entity}.{name}", measured, event, earlier[entity])
                if profile.first_seen and fold and earlier[entity]:
                    first_us = min(int(e["event_time_us"]) for e in earlier[entity])
                    answers[f"{entity}.first_seen_age_s"] = max(time_us - first_us, 0) / 1e6
                if history.of(entity, event):
                    _distinct(answers, entity, list(profile.distinct), profile.distinct, event, history)
                for member in profile.new:
                    if fold and history.tag(member, event):
                        since = time_us - kept[entity]
                        known = {
                            history.tag(member, e)
                            for e in earlier[entity]
                            if e["kind"] != Kind.OUTCOME and e["event_time_us"] > since
                        }
                        answers[f"{entity}.new_{member}"] = float(history.tag(member, event) not in known)
                place_answers(answers, entity, profile.places, event, earlier[entity])
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

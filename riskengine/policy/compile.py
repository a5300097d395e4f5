"""policy.yaml and reason_codes.yaml into a policy that can decide.

INVARIANTS: a compiled policy is complete: its `content` alone rebuilds it, with tags in place of identifiers and
without notes, so the hash of the content is the policy's revision and may be journaled. Both files are checked wholly
before anything is refused. No clock and no key in here: both come as arguments.

Called by `engine.configuration`: with the key of tags for files, without it for the content that was journaled.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from riskengine.enums import ListAction, Verdict
from riskengine.errors import ConfigError, Problem
from riskengine.expr import Environment, Expression, is_variable_name
from riskengine.yamlfile import Document
from riskengine.yamlfile import check as check_schema

from .check import DECIDED_NAMESPACES, TagOf, check_policy, check_reasons, matches
from .lists import Entry
from .schema import IDENTIFIER, ModelMode, Obligation, PolicyFile, ReasonFile, Rule

CONTENT_FORMAT: Final = 1
PROBABILITY: Final = "model.probability"
VERDICTS: Final[Mapping[str, Verdict]] = {
    "approve": Verdict.APPROVE,
    "review": Verdict.REVIEW,
    "decline": Verdict.DECLINE,
}
ACTIONS: Final[Mapping[str, ListAction]] = {
    "allow": ListAction.ALLOW,
    "block": ListAction.BLOCK,
    "watch": ListAction.WATCH,
}


@dataclass(frozen=True)
class CompiledPolicy:
    """A policy without mistakes.

    Attributes:
        file: policy.yaml as a model.
        reasons: reason_codes.yaml as a model.
        feature_names: The matrix's columns that it was compiled for.
        rule_conditions: Of each rule, in the order of the file.
        segment_conditions: Of each segment.
        entries: Of all lists.
        content: Canonical UTF-8 JSON; equal contents decide equally.
        warnings: What is odd but can be used.
    """

    file: PolicyFile
    reasons: ReasonFile
    feature_names: tuple[str, ...]
    rule_conditions: tuple[Expression, ...]
    segment_conditions: tuple[Expression, ...]
    entries: tuple[Entry, ...]
    content: bytes
    warnings: tuple[Problem, ...]

    @property
    def name(self) -> str:
        """The policy's name."""
        return self.file.name

    @property
    def model_mode(self) -> ModelMode:
        """How the model takes part; in mode ``off`` there is no need to score."""
        return self.file.model.mode

    @property
    def revision(self) -> str:
        """SHA-256 of the content, 64 hex digits."""
        return sha256(self.content).hexdigest()

    def names(self) -> dict[str, Any]:
        """Returns what the bits and indexes of a decision mean, as plain JSON.

        Returns:
            ``policy``: name; ``rules``: id, verdict (Verdict, 0 for none) and mode by bit; ``lists``: id and action (text)
            by bit; ``obligations``: the one kind of each by bit, such as ``{"notify": {"audience": "payer"}}``;
            ``obligation_ids``: likewise; ``segments``: ids by index, ``default`` first; ``reasons``: code, text and unit
            (None where there is none) by index.
        """
        return {
            "policy": self.file.name,
            "rules": [{"id": rule.id, "verdict": asked_verdict(rule), "mode": rule.mode} for rule in self.file.rules],
            "lists": [{"id": listed.id, "action": listed.action} for listed in self.file.lists],
            "obligations": [each.model_dump(exclude_none=True) for each in self.file.obligations.values()],
            "obligation_ids": list(self.file.obligations),
            "segments": ["default", *(segment.id for segment in self.file.thresholds.segments)],
            "reasons": [
                {"code": code, "text": reason.text, "unit": reason.unit}
                for code, reason in self.reasons.reasons.items()
            ],
        }

    def obligation_bits(self, ids: Sequence[str]) -> int:
        """Returns the bits of obligations by id."""
        order = list(self.file.obligations)
        return sum({1 << order.index(name) for name in ids})

    def decline_bits(self) -> int:
        """Returns the bits of the obligations that still make sense beside a decline: to tell somebody."""
        return self.obligation_bits([name for name, what in self.file.obligations.items() if _tells_only(what)])

    def reason_index(self, code: str) -> int:
        """Returns a reason's index by its code."""
        return list(self.reasons.reasons).index(code)

    def reason_of_features(self) -> list[int]:
        """Returns the index of the model's reason for each column of the matrix, -1 where none can be."""
        order = {code: index for index, code in enumerate(self.reasons.reasons)}
        return [
            next((order[item.code] for item in self.reasons.model if matches(name, item.features)), -1)
            if not name.startswith(DECIDED_NAMESPACES)
            else -1
            for name in self.feature_names
        ]


def compile_policy(
    policy: Document,
    reasons: Document,
    environment: Environment,
    feature_names: Sequence[str],
    *,
    tag: TagOf | None = None,
    now_us: int | None = None,
) -> CompiledPolicy:
    """Checks both files and compiles the policy.

    Args:
        policy: policy.yaml, or its part of `documents_of`.
        reasons: reason_codes.yaml, likewise.
        environment: Of the conditions; it knows ``list.<id>`` for each of `list_ids`.
        feature_names: The matrix's columns, ``list.<id>`` of each list among them.
        tag: Makes the uint64 tag of a value of an entity type; raises ValueError when it is no such value. None where
            no key is: then lists hold tags only.
        now_us: Time of day for warnings about expired entries, microseconds; None for no such warnings.

    Raises:
        ConfigError: With every problem of both files.
    """
    policy_file, problems = check_schema(policy, PolicyFile)
    reason_file, more = check_schema(reasons, ReasonFile)
    found = check_policy(policy, reasons, environment, tag, now_us)
    of_reasons = check_reasons(reasons, feature_names)
    problems += more + found.problems + of_reasons.problems
    if problems or policy_file is None or reason_file is None:
        raise ConfigError(list(dict.fromkeys(problems)))
    names = tuple(feature_names)
    assert {f"list.{listed.id}" for listed in policy_file.lists} <= set(names), "each list has its column"
    segments = policy_file.thresholds.segments
    return CompiledPolicy(
        file=policy_file,
        reasons=reason_file,
        feature_names=names,
        rule_conditions=tuple(found.conditions["rules", index, "when"] for index in range(len(policy_file.rules))),
        segment_conditions=tuple(
            found.conditions["thresholds", "segments", index, "when"] for index in range(len(segments))
        ),
        entries=tuple(found.entries.values()),
        content=_content(policy_file, reason_file, tuple(found.entries.values())),
        warnings=tuple(found.warnings + of_reasons.warnings),
    )


def find_problems(policy: Document | None, reasons: Document | None, *, tag: TagOf | None = None) -> list[Problem]:
    """Returns what is wrong with both files whatever the features are: for when features.yaml cannot be compiled.

    Conditions, and features that reasons speak of, are not looked at.

    Args:
        policy: policy.yaml; None where it cannot be read.
        reasons: reason_codes.yaml, likewise.
        tag: As for `compile_policy`.
    """
    problems: list[Problem] = []
    if policy is not None:
        problems += check_schema(policy, PolicyFile)[1] + check_policy(policy, reasons, None, tag, None).problems
    if reasons is not None:
        problems += check_schema(reasons, ReasonFile)[1] + check_reasons(reasons, None).problems
    return list(dict.fromkeys(problems))


def documents_of(content: bytes) -> tuple[Document, Document]:
    """Takes the content of a compiled policy apart again, for `compile_policy` without a key.

    Args:
        content: As in `CompiledPolicy.content`; the caller has verified its hash.

    Raises:
        ConfigError: It is of another format.
    """
    data = json.loads(content)
    if data["format"] != CONTENT_FORMAT:
        message = (
            f"policy of format {data['format']}, this program reads format {CONTENT_FORMAT}; use the one that wrote it"
        )
        raise ConfigError([Problem("activation", 0, 0, message)])
    return Document("policy.yaml", data["policy"]), Document("reason_codes.yaml", data["reasons"])


def list_ids(policy: Document) -> tuple[str, ...]:
    """Returns the ids of a policy's lists, before it is checked: the engine makes a column ``list.<id>`` of each."""
    lists = policy.data.get("lists") if isinstance(policy.data, dict) else None
    found = [item.get("id") for item in lists if isinstance(item, dict)] if isinstance(lists, list) else []
    names = [name for name in found if isinstance(name, str) and re.match(IDENTIFIER, name)]
    return tuple(dict.fromkeys(name for name in names if is_variable_name(f"list.{name}")))


def asked_verdict(rule: Rule) -> int:
    """Returns the Verdict that a rule asks for, 0 for none."""
    return int(VERDICTS[rule.then.verdict]) if rule.then.verdict else 0


def _tells_only(obligation: Obligation) -> bool:
    return obligation.notify is not None


def _content(policy: PolicyFile, reasons: ReasonFile, entries: Sequence[Entry]) -> bytes:
    """Writes both files canonically: tags for values, entries in the order of their tags, no notes."""
    by_list: dict[int, list[Entry]] = {}
    for entry in sorted(entries, key=lambda entry: entry.tag):
        by_list.setdefault(entry.list_index, []).append(entry)
    data = policy.model_dump(mode="json", exclude_none=True)
    for index, listed in enumerate(data["lists"]):
        listed["entries"] = [entry.as_content() for entry in by_list.get(index, ())]
    told = {"format": CONTENT_FORMAT, "policy": data, "reasons": reasons.model_dump(mode="json", exclude_none=True)}
    return json.dumps(told, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()

"""A small world for policies: a few features, a short policy and its reasons, and ways to compile and ask them.

Used by the tests of this folder.
"""

from collections.abc import Mapping
from hashlib import blake2b
from typing import Any

import numpy as np

from riskengine.enums import TransactionType
from riskengine.expr import Environment, Variable, VariableKind
from riskengine.policy.compile import CompiledPolicy, compile_policy, list_ids
from riskengine.policy.stage import Policy
from riskengine.types import DECISION, DECISION_WORD, EVENT_WORD, Array, empty_events, words
from riskengine.yamlfile import Document, load_yaml

FEATURES = ("txn.amount", "card.count", "card.mean", "device.cards", "model.probability")

REASONS = """\
version: 1
reasons:
  MANY: {text: "{observed} payments, usually {norm}.", feature: card.count, norm: card.mean}
  LARGE: {text: A large amount., feature: txn.amount}
  DEVICE: {text: Many cards.}
  LISTED: {text: On a list.}
  MISSING: {text: Something is missing.}
  MODEL: {text: The model says so.}
blocked: LISTED
unevaluated: MISSING
model:
  - {features: ["card.*"], code: MANY}
  - {features: ["device.cards"], code: DEVICE}
  - {features: ["*"], code: MODEL}
"""

POLICY = """\
version: 1
name: small
model: {mode: live}
thresholds:
  default: {review: 0.4, decline: 0.8}
  segments:
    - {id: large, when: txn.amount >= 1000, review: 0.2, decline: 0.6}
    - {id: refund, when: txn.type == "REFUND", review: 0.5, decline: 0.9}
lists:
  - {id: bad, entity: card, action: block, entries: [{value: c1}, {value: c2, expires: 2024-01-01}]}
  - {id: good, entity: account, action: allow, entries: [{value: a1}]}
  - {id: seen, entity: device, action: watch, entries: [{value: d1}]}
obligations:
  hold: {hold: {duration_s: 60, default_verdict: decline}}
  step: {step_up: {methods: [one_time_code]}}
  tell: {notify: {audience: payer}}
on_review: [hold]
rules:
  - {id: many, when: card.count >= 5, then: {verdict: decline, obligations: [tell, step]}, reason: MANY, on_error: skip}
  - {id: busy, when: card.count >= 3, then: {verdict: review}, reason: MANY, on_error: review}
  - {id: large, when: txn.amount > 5000, then: {obligations: [step]}, reason: LARGE}
  - {id: cards, when: device.cards >= 2, then: {verdict: decline}, reason: DEVICE, mode: shadow, on_error: decline}
  - {id: retired, when: txn.amount >= 0, then: {verdict: decline}, reason: LARGE, mode: "off"}
  - {id: watched, when: list.seen, then: {obligations: [tell]}, reason: LISTED}
"""


def tag(entity: str, value: str) -> int:
    """Makes a tag as the door does, with a key anybody may know."""
    if value == "not-valid":
        raise ValueError(entity)
    return int.from_bytes(blake2b(f"{entity}:{value}".encode(), digest_size=8).digest(), "big")


def names_of(policy: Document) -> tuple[str, ...]:
    """Returns the columns for a policy."""
    return (*FEATURES, *(f"list.{name}" for name in list_ids(policy)))


def variables_of(policy: Document) -> list[Variable]:
    """Returns the variables for a policy."""
    named = [
        Variable(name, VariableKind.BOOL if name.startswith("list.") else VariableKind.NUMBER, column)
        for column, name in enumerate(names_of(policy))
    ]
    domain = {kind.name: int(kind) for kind in TransactionType}
    return [
        *named,
        Variable("txn.type", VariableKind.CODE, EVENT_WORD["transaction_type"], domain),
        Variable("txn.currency", VariableKind.CODE, EVENT_WORD["currency"]),
    ]


def compiled(policy: str = POLICY, reasons: str = REASONS, **options: Any) -> CompiledPolicy:
    """Compiles texts."""
    document = load_yaml(policy, name="policy.yaml")
    environment = Environment(variables_of(document))
    given = {"tag": tag} | options
    return compile_policy(
        document, load_yaml(reasons, name="reason_codes.yaml"), environment, names_of(document), **given
    )


def decide(
    policy: Policy,
    given: Mapping[str, float],
    *,
    probability: float | None = None,
    lists: tuple[str, ...] = (),
    kind: int = 0,
) -> Array:
    """Asks a policy once.

    Args:
        policy: Ready to decide.
        given: Features by name; the others are missing.
        probability: Of fraud; None for no model.
        lists: Ids of the lists hit.
        kind: Transaction type, 0 for missing.

    Returns:
        DECISION[1].
    """
    names = policy.compiled.feature_names
    features, valid = np.full((1, len(names)), 1e9), np.zeros((1, len(names)), np.uint8)
    for key, value in given.items():
        column = names.index(key)
        features[0, column], valid[0, column] = value, 1
    hits = 0
    for index, listed in enumerate(policy.compiled.file.lists):
        column = names.index(f"list.{listed.id}")
        features[0, column], valid[0, column] = float(listed.id in lists), 1
        hits |= (listed.id in lists) << index
    events = empty_events(1)
    events["transaction_type"] = kind
    decisions = np.zeros(1, DECISION)
    policy.decide(
        events=words(events),
        features=features,
        valid=valid,
        list_hits=np.array([hits], np.int64),
        probability=np.array([np.nan if probability is None else probability]),
        decisions=words(decisions),
    )
    return decisions


def told(policy: Policy, decisions: Array) -> list[str]:
    """Returns the reason codes of a decision."""
    codes = list(policy.compiled.reasons.reasons)
    return [codes[decisions[0][f"reason_{slot}_code"]] for slot in range(decisions[0]["reason_count"])]


def obligations(policy: Policy, decisions: Array) -> list[str]:
    """Returns the obligations of a decision."""
    bits = int(decisions["obligations"][0])
    return [name for index, name in enumerate(policy.compiled.file.obligations) if bits >> index & 1]


def rule_ids(policy: Policy, decisions: Array, prefix: str = "fired") -> list[str]:
    """Returns the rules of a decision."""
    assert f"{prefix}_0" in DECISION_WORD
    return [rule.id for rule in policy.fired(decisions[0], prefix)]

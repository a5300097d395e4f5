"""Decisions as people read them: what `score` prints in full and `demo` in two lines."""

import re
from typing import Final

from rich.console import Console
from rich.text import Text

from riskengine.currencies import MINOR_UNIT_EXPONENTS
from riskengine.v1.decision_pb2 import Decision, ListAction, ModelMode, Obligation, Reason, Stage, Verdict

STYLES: Final = {"APPROVE": "green", "REVIEW": "yellow", "DECLINE": "red"}

_AMOUNT: Final = re.compile(r"[a-z_]+\.amount(_sum.*|_mean.*)?").fullmatch


def verdict_name(decision: Decision) -> str:
    """Returns APPROVE, REVIEW or DECLINE."""
    return Verdict.Name(decision.verdict).removeprefix("VERDICT_")


def verdict_text(name: str, width: int = 0) -> Text:
    """Returns a verdict in its colour, padded to a width."""
    return Text(name.ljust(width), style=f"bold {STYLES.get(name, '')}")


def probability_words(decision: Decision) -> str:
    """Returns the probability with as many digits as it deserves; "" without a model."""
    if not decision.HasField("fraud_probability"):
        return ""
    share = decision.fraud_probability
    return f"{share:.0%}" if 0.1 <= share < 0.985 else f"{share:.1%}"


def obligation_words(obligation: Obligation) -> str:
    """Says what the caller has to do besides."""
    kind = obligation.WhichOneof("kind")
    if kind == "step_up":
        return "ask for " + " or ".join(method.replace("_", " ") for method in obligation.step_up.methods)
    if kind == "hold":
        minutes = obligation.hold.duration.seconds // 60
        told = Verdict.Name(obligation.hold.default_verdict).removeprefix("VERDICT_").lower()
        return f"hold for {minutes // 60} h {minutes % 60:02d} min, then {told}"
    if kind == "limit":
        return f"let at most {_money(obligation.limit.amount_minor_max, obligation.limit.currency_code)} through"
    return f"notify {obligation.notify.audience.replace('_', ' ')}"


def steps_up(decision: Decision) -> bool:
    """Tells whether the payer is asked for a second factor."""
    return any(each.WhichOneof("kind") == "step_up" for each in decision.obligations)


def reason_words(reason: Reason) -> str:
    """Says a reason: its sentence, and the observed value beside the norm where the sentence has neither."""
    if not reason.HasField("observed_value") or any(letter.isdigit() for letter in reason.text):
        return reason.text
    if _AMOUNT(reason.feature):  # In minor units of a currency that a decision does not name: the sentence says enough.
        return reason.text
    norm = f", usually {_number(reason.norm_value)}" if reason.HasField("norm_value") else ""
    return f"{reason.text} ({reason.feature} = {_number(reason.observed_value)}{norm})"


def _money(amount_minor: int, currency: str) -> str:
    exponent = MINOR_UNIT_EXPONENTS.get(currency, 2)
    return f"{currency} {amount_minor / 10**exponent:,.{exponent}f}"


def _number(value: float) -> str:
    if value == int(value) and abs(value) < 1e15:
        return f"{int(value):,}"
    return f"{value:,.2f}" if abs(value) >= 0.01 else f"{value:.2g}"


def show_decision(decision: Decision, console: Console) -> None:
    """Prints a decision in full."""
    name = verdict_name(decision)
    head = Text.assemble(verdict_text(name))
    if decision.HasField("fraud_probability"):
        mode = ModelMode.Name(decision.model_mode).removeprefix("MODEL_MODE_").lower()
        head.append(f"  probability of fraud {probability_words(decision)}")
        head.append(" (told only: the model is in shadow)" if mode == "shadow" else "")
    console.print(head, soft_wrap=True)
    for reason in decision.reasons:
        _line(console, "because", f"{reason_words(reason)}  [{reason.code}]")
    for obligation in decision.obligations:
        _line(console, "do", obligation_words(obligation))
    for hit in decision.rule_hits:
        _line(console, "rule", hit.rule_id)
    for hit in decision.shadow_rule_hits:
        _line(console, "shadow rule", f"{hit.rule_id} (decides nothing)")
    for listed in decision.list_hits:
        _line(
            console, "list", f"{listed.list_id} ({ListAction.Name(listed.action).removeprefix('LIST_ACTION_').lower()})"
        )
    if decision.unevaluated_rule_ids:
        _line(console, "not evaluated", ", ".join(decision.unevaluated_rule_ids))
    if decision.degraded_stages:
        stages = ", ".join(Stage.Name(stage).removeprefix("STAGE_").lower() for stage in decision.degraded_stages)
        _line(console, "skipped", stages)
    if decision.approximate:
        _line(console, "approximate", "an answer about a crowded entity is an estimate")
    if not decision.recorded:
        _line(console, "not recorded", "a fallback; send the transaction later by RecordTransaction")
    made_by = " and ".join(part for part in (decision.policy, decision.model) if part)
    _line(console, "decided by", f"{made_by or 'the fallback'}, thresholds of segment {decision.segment or 'default'}")
    _line(console, "kept as", decision.name)


def _line(console: Console, label: str, what: str) -> None:
    console.print(Text.assemble((f"  {label:<14}", "dim"), what), soft_wrap=True)

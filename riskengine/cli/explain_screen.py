"""An explanation as people read it, at 80 columns.

INVARIANT: everything is printed as text, never as markup: conditions have brackets, and labels come from callers.

Used by `decision explain`.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from rich.console import Console, RenderableType
from rich.padding import Padding
from rich.text import Text

from riskengine.cli.console import plural, table
from riskengine.cli.decisions import obligation_words, probability_words, show_decision, verdict_name, verdict_text
from riskengine.wire.names import days_text, hour_text, money_text, number_text, seconds_text

if TYPE_CHECKING:
    from riskengine.lab.answer import Answer, RuleOutcome, Value
    from riskengine.lab.explain import Explanation

WIDE: Final = 120
"""Columns of a screen that has room for descriptions."""
_TOLD: Final = ("fired", "fired in shadow", "not evaluated")
_MONEY: Final = ("minor units of the base currency", "units of txn.amount")


def show_explanation(explanation: "Explanation", console: Console, *, top: int) -> None:
    """Prints an explanation.

    Args:
        explanation: What to print.
        console: Where to.
        top: Features to show.
    """
    answer = explanation.answer
    show_decision(explanation.given, console)
    _show_proof(explanation, console)
    _head(console, f"The event, sequence {explanation.sequence:,}")
    for name, value in _event_lines(explanation):
        console.print(Text.assemble((f"  {name:<24}", "dim"), value), soft_wrap=True)
    _show_thresholds(answer, console)
    _show_rules(answer, console)
    for hit in answer.lists:
        _line(console, "list hit", f"{hit.id} ({hit.action}) names {hit.entity} {hit.tag}")
    _show_features(answer, console, top=top, currency=explanation.base_currency)
    if explanation.instead is not None:
        _show_instead(answer, explanation.instead, console)


def _show_proof(explanation: "Explanation", console: Console) -> None:
    """Says whether the decision came out again, and why not."""
    if explanation.earlier:
        others = ", ".join(f"{sequence:,}" for sequence in explanation.earlier)
        console.print(Text(f"This name was decided before, too: sequence {others}. The newest is explained."))
    if not explanation.different:
        console.print(Text("Taken again on the state just before it: every bit the same.", style="green"))
        return
    columns = ", ".join(explanation.different)
    why = "" if explanation.native else "Another version of the program, or another CPU, took it, which may be why. "
    console.print(Text(f"Taken again, it comes out otherwise: {columns}. {why}What follows is as it comes out now."))


def _event_lines(explanation: "Explanation") -> list[tuple[str, str]]:
    """Returns the event's fields for people: amounts as money."""
    event, base = explanation.event, explanation.base_currency
    currency = str(event.get("currency", ""))
    lines = []
    for name, value in event.items():
        if name == "amount_minor":
            lines.append(("amount", money_text(currency)(float(value))))
        elif name == "amount_base_minor":
            lines += [("amount in base currency", money_text(base)(float(value)))] if base != currency else []
        elif name != "currency" or "amount_minor" not in event:
            lines.append((name.replace("_", " "), str(value)))
    return lines


def _show_thresholds(answer: "Answer", console: Console) -> None:
    thresholds = answer.thresholds
    _head(console, "Thresholds")
    _line(
        console,
        f"segment {thresholds.segment}",
        f"review from {thresholds.review:.4g}, decline from {thresholds.decline:.4g}; the model is {thresholds.mode}",
    )
    if thresholds.when:
        _under(console, Text(thresholds.when, style="cyan"))
    if answer.probability is None:
        _line(console, "no probability", "no model, or no time for it")


def _show_rules(answer: "Answer", console: Console) -> None:
    """Prints the rules that fired or could not be evaluated, with what was in them."""
    _head(console, "Rules")
    told = [rule for rule in answer.rules if rule.outcome in _TOLD]
    for rule in told:
        asks = " and ".join(part for part in (rule.verdict, *rule.obligations) if part)
        _line(console, rule.outcome, f"{rule.id}: {asks or 'nothing'}, because {rule.reason}")
        _under(console, Text(" ".join(rule.when.split()), style="cyan"))
        _under(console, Text(variables_text(rule)))
    quiet = sum(rule.outcome == "not fired" for rule in answer.rules)
    console.print(Text(f"  {plural(quiet, 'rule')} did not fire.", style="dim"))


def variables_text(rule: "RuleOutcome") -> str:
    """Returns what a rule's condition read, as conditions write it: ``txn.amount = 20000, txn.type = "CARD_PAYMENT"``."""
    return ", ".join(f"{name} = {_literal(value)}" for name, value in rule.variables.items())


def _literal(value: "Value") -> str:
    if value is None:
        return "missing"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) else f"{value:.10g}"


def _show_features(answer: "Answer", console: Console, *, top: int, currency: str) -> None:
    """Prints the heaviest features, or without a model the first ones."""
    features = answer.features[:top]
    with_model = answer.margin is not None
    _head(console, "What the model made of it" if with_model else "What was measured")
    if answer.margin is not None and answer.bias is not None:
        contributed = sum(each.contribution or 0.0 for each in answer.features)
        console.print(
            Text(
                f"  log-odds {answer.bias:+.3f} for anybody {contributed:+.3f} for this event = {answer.margin:+.3f}, "
                f"calibrated to a probability of {answer.probability:.2%}"
            )
        )
    columns = (("log-odds",) if with_model else ()) + ("feature", "value")
    wide = console.width >= WIDE
    shown = table(*columns, *(("meaning",) if wide else ()))
    shown.columns[-1 if not wide else -2].no_wrap = True
    for each in features:
        cells: list[RenderableType] = [Text(each.name), Text(value_text(each.value, each.unit, currency))]
        if with_model:
            cells.insert(0, Text("" if each.contribution is None else f"{each.contribution:+.3f}"))
        if wide:
            cells.append(Text(each.description))
        shown.add_row(*cells)
    if features:
        console.print(Padding(shown, (0, 0, 0, 2), expand=False))
    left = len(answer.features) - len(features)
    if left:
        text = f"  {plural(left, 'more feature')}: --top {len(answer.features)} shows them, --json tells all."
        console.print(Text(text, style="dim"))


def value_text(value: float | None, unit: str, currency: str) -> str:
    """Returns a feature's value with its unit.

    Args:
        value: None is missing.
        unit: From the catalogue.
        currency: Base currency, ISO 4217.
    """
    if value is None:
        return "missing"
    if unit == "yes or no":
        return "yes" if value else "no"
    if unit in _MONEY:
        return money_text(currency)(value)
    for name, text in (("seconds", seconds_text), ("days", days_text), ("hours", hour_text)):
        if unit == name:
            return text(value)
    return f"{number_text(value)} {unit}"


def _show_instead(answer: "Answer", instead: "Answer", console: Console) -> None:
    """Prints both answers side by side."""
    _head(console, "What would have been said instead")
    shown = table("", "as decided", "instead")
    for label, cell in _INSTEAD.items():
        one, other = cell(answer), cell(instead)
        if one.plain or other.plain:
            mark = "*" if one.plain != other.plain else " "
            shown.add_row(Text(f"{mark} {label}"), one, other)
    console.print(shown)


def _rule_ids(answer: "Answer", outcome: str) -> Text:
    return Text("\n".join(rule.id for rule in answer.rules if rule.outcome == outcome))


_INSTEAD: Final[dict[str, Callable[["Answer"], Text]]] = {
    "verdict": lambda answer: verdict_text(verdict_name(answer.told)),
    "probability": lambda answer: Text(probability_words(answer.told)),
    "thresholds": lambda answer: Text(
        f"{answer.thresholds.review:.4g} / {answer.thresholds.decline:.4g} ({answer.thresholds.segment})"
    ),
    "rules": lambda answer: _rule_ids(answer, "fired"),
    "shadow rules": lambda answer: _rule_ids(answer, "fired in shadow"),
    "not evaluated": lambda answer: _rule_ids(answer, "not evaluated"),
    "lists": lambda answer: Text("\n".join(hit.id for hit in answer.lists)),
    "obligations": lambda answer: Text("\n".join(obligation_words(each) for each in answer.told.obligations)),
    "reasons": lambda answer: Text("\n".join(reason.code for reason in answer.told.reasons)),
    "policy": lambda answer: Text(f"{answer.told.policy}\n{answer.told.policy_revision}"),
    "model": lambda answer: Text(f"{answer.told.model}\n{answer.told.model_revision}".strip()),
    "model is": lambda answer: Text(answer.thresholds.mode if answer.probability is not None else "absent"),
}


def _head(console: Console, title: str) -> None:
    console.print(Text(title, style="bold"))


def _line(console: Console, label: str, what: str) -> None:
    console.print(Text.assemble((f"  {label}  ", "dim"), what))


def _under(console: Console, what: Text) -> None:
    console.print(Padding(what, (0, 0, 0, 6), expand=False))

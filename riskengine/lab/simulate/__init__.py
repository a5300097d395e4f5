"""A world of people who pay, and of those who steal: labelled histories from a seed.

`simulate` builds people with accounts, cards, devices and habits, lets them act for some weeks, hides episodes of
four kinds of fraud among them (`SCENARIOS`) and returns one table in the history schema, ordered by event time. The
modules, in the order data flows: `places` and `catalogue` (the constants), `world` (who and what exists), `moments`
(when, where, with which device), `shopping`, `wallet` and `lifecycle` (what people do), `aftermath` (refunds, second
tries), `schedule`, `card_fraud` and `account_fraud` (the episodes), `assemble` (drafts to Arrow).

INVARIANTS: the result depends on the `SimulationConfig` alone (one PCG64 stream for each part, no clock); no
identifier is or looks like a card number; nobody real is in it: mail domains and IP ranges are reserved ones.

Called by `cli`, the demo, tests and benchmarks.
"""

from .config import SCENARIOS, SimulationConfig
from .places import CURRENCY_CODES
from .run import simulate

__all__ = ["CURRENCY_CODES", "SCENARIOS", "SimulationConfig", "simulate"]

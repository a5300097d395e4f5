"""The simulation from end to end.

INVARIANT: honest events come first and know nothing of fraud; the fraud modules read the world and add to it.

Called by `cli`, the demo, tests and benchmarks through the package.
"""

from collections.abc import Callable

import numpy as np
import pyarrow as pa

from .account_fraud import device_farms, takeovers
from .aftermath import retries, returns
from .assemble import assemble
from .card_fraud import card_testing, stolen_cards
from .config import SimulationConfig
from .draft import Array
from .lifecycle import extras, openings
from .shopping import online_payments, shop_payments, subscription_payments
from .wallet import cash, sessions
from .world import NEVER_US, World, build_world

Progress = Callable[[float, str], None]
"""Is told the share done, 0.0 to 1.0, and what comes next."""


def simulate(config: SimulationConfig, *, progress: Progress | None = None) -> pa.Table:
    """Simulates a labelled history.

    Every row is known to be honest (`fraud` false, no label time) or fraud (with the time it became known, which may be
    after the end: who trains must cut by it).

    Args:
        config: What to simulate.
        progress: Called a few times on the way.

    Returns:
        Table of HISTORY_SCHEMA, ordered by event_time; about 1.25 rows for each person and day.
    """
    tell = progress or (lambda share, what: None)
    tell(0.0, "people and merchants")
    world = build_world(config)
    tell(0.05, "payments")
    payments = np.concatenate((shop_payments(world), online_payments(world), subscription_payments(world)))
    payments = np.concatenate((payments, retries(config, payments)))
    payments = _lived(world, payments)
    payments["key"] = np.arange(len(payments))
    tell(0.3, "accounts")
    others = [*sessions(world), cash(world), *openings(world), *extras(world), *returns(config, payments)]
    ordinary = np.concatenate((payments, _lived(world, np.concatenate(others))))
    tell(0.5, "fraud")
    count = len(ordinary)
    fraud = [make(world, count) for make in (stolen_cards, card_testing, takeovers, device_farms)]
    rows = np.concatenate((ordinary, *fraud))
    rows["key"][len(payments) :] = np.arange(len(payments), len(rows))
    tell(0.6, "table")
    table = assemble(world, rows)
    tell(1.0, "done")
    return table


def _lived(world: World, rows: Array) -> Array:
    """Drops what is outside the simulated span, and what people do before their account is open."""
    new = world.people.new
    opened = np.full(len(world.entities.accounts), -NEVER_US)
    opened[world.people.account[new]] = world.people.open_time_us[new]
    since = opened[np.maximum(rows["account"], 0)]
    inside = (rows["time_us"] >= world.config.start_us) & (rows["time_us"] < world.config.end_us)
    lived: Array = rows[inside & ((rows["account"] < 0) | (rows["time_us"] >= since))]
    return lived

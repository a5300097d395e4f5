"""What the issuer answers to ordinary payments.

INVARIANT: an answer is an outcome and a code of ISSUER_CODES; "insufficient funds" leads, as in life.

Called by the modules that make payments.
"""

import numpy as np

from riskengine.enums import IssuerOutcome

from .catalogue import CODE_APPROVED, CODE_DO_NOT_HONOUR, CODE_FUNDS
from .config import Generator
from .draft import Array, Ints, choose

_DECLINE_CODES = np.array([CODE_FUNDS, CODE_DO_NOT_HONOUR, 3, 4])
_DECLINE_WEIGHTS = (0.58, 0.22, 0.06, 0.14)


def answers(rng: Generator, count: int, *, decline_share: Array | float) -> dict[str, Ints]:
    """Draws issuers' answers.

    Args:
        decline_share: Chance of a decline, scalar or shape (count,).

    Returns:
        Columns ``issuer_outcome`` and ``issuer_code`` of drafts. One answer in 500 does not come in time.
    """
    declined = rng.random(count) < decline_share
    code = np.where(declined, _DECLINE_CODES[choose(rng, count, _DECLINE_WEIGHTS)], CODE_APPROVED)
    outcome = np.where(declined, int(IssuerOutcome.DECLINED), int(IssuerOutcome.APPROVED))
    late = rng.random(count) < 0.002
    return {
        "issuer_outcome": np.where(late, int(IssuerOutcome.TIMED_OUT), outcome),
        "issuer_code": np.where(late, -1, code),
    }

"""The product's front with one thing around it: each call is given a payment of its own.

h2load sends the same body with every request, and the engine would answer all but the first from memory. So the request
that arrives is thrown away and the next payment of `bodies` takes its place, before anything of the product runs. What
that costs (about 2 us) is counted against the server. Run by the supervisor in place of `riskengine.server.app`.
"""

import sys
from typing import Any

from riskengine.server.app import main
from riskengine.server.servicers import RiskServicer

from .bodies import payments


class Renumbered:
    """A servicer whose payments are all different.

    Args:
        servicer: The product's.
    """

    def __init__(self, servicer: RiskServicer) -> None:
        self._servicer = servicer
        self._payments = payments()

    async def score_transaction(self, _raw: bytes, context: Any) -> bytes:
        """Scores the next payment."""
        return await self._servicer.score_transaction(next(self._payments), context)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._servicer, name)


if __name__ == "__main__":
    sys.exit(main(wrap=Renumbered))

"""What requests and rows mean at present: door and reply builder of the configuration that the engine has active.

INVARIANT: both are replaced together, between two calls, when the engine tells a new catalogue; a door stays the same object as
long as rows mean the same. Made by `server.app`,
read by `server.servicers`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from riskengine.settings import ServerSettings
from riskengine.types import US_PER_SECOND
from riskengine.wire.door import Door
from riskengine.wire.pseudonyms import TagKey
from riskengine.wire.reply import ReplyBuilder


class Vocabulary:
    """Door and reply builder.

    Args:
        key: The secret of all tags.
        settings: Currencies, skew, exempt fields.

    Attributes:
        door: Requests to rows. Before the first catalogue it knows no declared inputs, which is enough for a fallback.
        replies: Rows to replies.
    """

    def __init__(self, key: TagKey, settings: ServerSettings) -> None:
        self._key = key
        self._settings = settings
        self._slots: list[dict[str, int]] = [{}, {}]
        self.door = self._build_door(*self._slots)
        self.replies = ReplyBuilder({})

    def learn(self, catalog: Sequence[Mapping[str, Any]]) -> None:
        """Takes over a catalogue.

        Args:
            catalog: Names of each revision, the active one last, as the engine tells them.
        """
        if not catalog:
            return
        inputs = catalog[-1]["inputs"]
        slots = [{name: slot for slot, name in enumerate(inputs[kind])} for kind in ("numbers", "labels")]
        if slots != self._slots:
            self._slots = slots
            self.door = self._build_door(*slots)
        self.replies = ReplyBuilder({names["revision"]: names for names in catalog})

    def _build_door(self, number_slots: dict[str, int], label_slots: dict[str, int]) -> Door:
        settings = self._settings
        return Door(
            self._key,
            base_currency=settings.base_currency,
            rates=settings.rates,
            number_slots=number_slots,
            label_slots=label_slots,
            skew_us=settings.clock_skew_s * US_PER_SECOND,
            pan_exempt_fields=frozenset(settings.pan_exempt_fields),
        )

"""`api.Delivery` over NATS: one delivery of a message of an inbox."""

from typing import Self

import structlog

from holdfast.bus import codec, subjects
from holdfast.bus.ids import Key
from holdfast.bus.inputs import Source
from holdfast.bus.jetstream.consumer import StreamDelivery

log = structlog.get_logger()


class NatsDelivery:
    """Keeps no body: hundreds of deliveries may wait."""

    def __init__(self, delivery: StreamDelivery, key: Key, source: Source) -> None:
        self._key = key
        self._source: Source = source
        self._newer = codec.is_newer_input(delivery.message.data)
        self._delivery = delivery

    @classmethod
    async def of(cls, delivery: StreamDelivery) -> Self | None:
        """The delivery. None for a message that no session reads; it is then not delivered again."""
        subject = delivery.message.subject
        try:
            key, source = subjects.key_of(subject), subjects.source_of(subject)
            is_inbox = subjects.inbox(key, source) == subject
        except ValueError:
            is_inbox = False
        else:
            if is_inbox:
                return cls(delivery, key, source)
        log.error("consume.not_an_inbox", subject=subject)
        await delivery.term()
        return None

"""`api.Delivery` over NATS: one delivery of a message of an inbox."""

from typing import Self

import structlog

from holdfast.bus import codec, subjects
from holdfast.bus.ids import Key
from holdfast.bus.inputs import Source
from holdfast.bus.jetstream.consumer import StreamDelivery

log = structlog.get_logger()


def is_inbox(subject: str) -> bool:
    """Whether it is the inbox of a session."""
    try:
        return subjects.inbox(subjects.key_of(subject), subjects.source_of(subject)) == subject
    except ValueError:
        return False


class NatsDelivery:
    """See `api.Delivery`."""

    def __init__(self, delivery: StreamDelivery, key: Key, source: Source) -> None:
        self._key = key
        self._source: Source = source
        self._newer = codec.is_newer_input(delivery.message.data)
        delivery.drop_body()  # hundreds of deliveries may wait, and the body is read after the claim (rule 4)
        self._delivery = delivery

    @classmethod
    async def of(cls, delivery: StreamDelivery) -> Self | None:
        """The delivery. None for a message that no session reads; it is then not delivered again."""
        subject = delivery.message.subject
        if is_inbox(subject):
            return cls(delivery, subjects.key_of(subject), subjects.source_of(subject))
        log.error("consume.not_an_inbox", subject=subject)
        await delivery.term()
        return None

    @property
    def key(self) -> Key:
        return self._key

    @property
    def source(self) -> Source:
        return self._source

    @property
    def seq(self) -> int:
        return self._delivery.seq

    @property
    def count(self) -> int:
        return self._delivery.count

    @property
    def newer(self) -> bool:
        """See `api.Delivery.newer`."""
        return self._newer

    @property
    def number(self) -> int:
        """See `api.Delivery.number`: the consumer sequence."""
        return self._delivery.number

    @property
    def passed_on(self) -> bool:
        """See `api.Delivery.passed_on`."""
        return self._delivery.passed_on

    @property
    def subject(self) -> str:
        """That of the message."""
        return self._delivery.message.subject

    @property
    def reply(self) -> str:
        """Whoever acks this has handled the delivery."""
        return self._delivery.reply

    async def ack(self, *, sure: bool = True) -> None:
        """See `api.Delivery.ack`."""
        await self._delivery.ack(sure=sure)

    async def nak(self, delay: float = 0.0) -> None:
        """See `api.Delivery.nak`."""
        await self._delivery.nak(delay)

    async def in_progress(self) -> None:
        """See `api.Delivery.in_progress`."""
        await self._delivery.in_progress()

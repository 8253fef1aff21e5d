"""A message as it came from the server. Pure."""

import msgspec


class RawMessage(msgspec.Struct, frozen=True):
    """A message as received."""

    subject: str
    reply: str
    data: bytes
    headers: dict[str, str]

    @property
    def status(self) -> str:
        """What the server says instead of a message (404, 408, 503 …), else empty.

        It is a header, which any sender may set. So a stored message has none: a delivery has a reply subject, and the
        answer to a direct get has the sequence of the message. (Its subject proves nothing: 503 names one too.)
        """
        if self.reply or "Nats-Sequence" in self.headers:
            return ""
        return self.headers.get("Status", "")

    @property
    def seq(self) -> int:
        """Sequence in its stream; only messages of a direct get and republished messages have it."""
        return int(self.headers["Nats-Sequence"])

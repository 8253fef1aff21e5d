"""A message as it came from the server. Pure."""

import msgspec


class RawMessage(msgspec.Struct, frozen=True):
    """A message as received. `status` is set on messages of the server itself (404, 408, 503 …), else empty."""

    subject: str
    reply: str
    data: bytes
    headers: dict[str, str]

    @property
    def status(self) -> str:
        return self.headers.get("Status", "")

    @property
    def seq(self) -> int:
        """Sequence in its stream; only messages of a direct get and republished messages have it."""
        return int(self.headers["Nats-Sequence"])

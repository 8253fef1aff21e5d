"""How many event streams are open: at most so many that other requests still find descriptors and memory. Pure."""

from holdfast.session.http.errors import too_many_streams


class OpenStreams:
    """`limit`: streams open at once."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._count = 0

    @property
    def count(self) -> int:
        """How many are open."""
        return self._count

    def add(self) -> None:
        """A stream opens. Raises ApiError 429 if too many are open."""
        if self._count >= self._limit:
            raise too_many_streams(self._limit)
        self._count += 1

    def remove(self) -> None:
        """A stream that was added has ended."""
        self._count -= 1

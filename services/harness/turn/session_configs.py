"""The configurations of the sessions that this process has driven lately."""

from typing import Final

from holdfast.bus import events as ev
from holdfast.bus.api import Bus
from holdfast.bus.commits import Stored
from holdfast.bus.errors import Unavailable
from holdfast.bus.ids import Key

CONFIG_CACHE_SESSIONS: Final = 128
"""Configurations kept in memory, the oldest is dropped first: a session in use need not read its own again."""


class SessionConfigs:
    """Reads configurations and keeps the last ones."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._kept: dict[tuple[Key, int], ev.SessionConfig] = {}
        """By session and stream sequence of the commit that holds the configuration."""

    async def get(self, key: Key, last: Stored) -> ev.SessionConfig:
        """The configuration that is valid after the commit `last`. Raises Unavailable."""
        seq = last.commit.head.config or last.seq
        if (kept := self._kept.get((key, seq))) is not None:
            return kept
        config = _config_in(last) if seq == last.seq else None
        if config is None:  # in another commit, or so large that it travels as a blob, which `head` does not fetch
            config = _config_in(await self._bus.log.get(key, seq))
        if config is None:
            raise Unavailable(f"the configuration of {key.session} cannot be read")
        self._kept[key, seq] = config
        if len(self._kept) > CONFIG_CACHE_SESSIONS:
            del self._kept[next(iter(self._kept))]
        return config


def _config_in(stored: Stored | None) -> ev.SessionConfig | None:
    events = stored.commit.events if stored else []
    return next((e for e in events if isinstance(e, ev.SessionConfig)), None)

"""Decodes the bodies of requests, large ones in a thread: checking one of 32 MiB takes most of a second."""

import asyncio
from typing import Any, Final

from holdfast.session.http.decoding import read_json

ON_LOOP_BYTES: Final = 128 * 1024
"""Largest body that is decoded on the event loop: that takes a few milliseconds, and a thread is not free either."""


async def decode_body(raw: bytes, kind: Any) -> Any:
    """As `read_json`. While a large body is checked other requests go on; only its decoder itself holds them up."""
    if len(raw) <= ON_LOOP_BYTES:
        return read_json(raw, kind)
    return await asyncio.to_thread(read_json, raw, kind)

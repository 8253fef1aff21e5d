"""nats-py without its websocket transport.

nats-py imports aiohttp for websockets if aiohttp is installed. That costs each process 0.1 s at its start and 6 MB of
memory. Our connections are TCP, so the import is blocked.
"""

import sys
from typing import Any, cast

_absent = "aiohttp" not in sys.modules
if _absent:
    cast("dict[str, Any]", sys.modules)["aiohttp"] = None  # `import aiohttp` now raises ImportError
try:
    import nats
    import nats.errors  # pyright: ignore[reportUnusedImport]  used as nats.errors
    from nats.aio.client import PING_PROTO, Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription
finally:
    if _absent:
        del sys.modules["aiohttp"]

__all__ = ["PING_PROTO", "Client", "Msg", "Subscription", "nats"]

"""nats-py without its websockets.

It imports aiohttp for them when that is installed, which costs each process a tenth of a second at its start and 6 MB;
we speak TCP.
"""

import sys
from typing import Any, cast

_absent = "aiohttp" not in sys.modules
if _absent:
    cast("dict[str, Any]", sys.modules)["aiohttp"] = None  # an import of it then fails
try:
    import nats
    import nats.errors  # pyright: ignore[reportUnusedImport]  it is reached as an attribute
    from nats.aio.client import PING_PROTO, Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription
finally:
    if _absent:
        del sys.modules["aiohttp"]

__all__ = ["PING_PROTO", "Client", "Msg", "Subscription", "nats"]

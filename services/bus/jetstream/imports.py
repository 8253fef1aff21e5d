"""nats-py without its websocket transport, and with a parser that takes every subject that the server takes.

nats-py imports aiohttp for websockets if aiohttp is installed. That costs each process 0.1 s at its start and 6 MB of
memory. Our connections are TCP, so the import is blocked.

Its parser ends the connection at a line with a vertical tab or a form feed in a subject, as it takes them for blanks.
For the server they are characters like any other, and whoever may publish may send them.
"""

import re
import sys
from typing import Any, cast

_absent = "aiohttp" not in sys.modules
if _absent:
    cast("dict[str, Any]", sys.modules)["aiohttp"] = None  # `import aiohttp` now raises ImportError
try:
    import nats
    import nats.errors  # pyright: ignore[reportUnusedImport]  used as nats.errors
    from nats.aio.client import PING_PROTO, Client, Srv
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription
    from nats.protocol import parser
finally:
    if _absent:
        del sys.modules["aiohttp"]

_WORD = rb"([^ \t\r\n]+)[ \t]+"
parser.MSG_RE = re.compile(rb"\AMSG[ \t]+" + _WORD * 2 + rb"(" + _WORD + rb")?(\d+)\r\n")
parser.HMSG_RE = re.compile(rb"\AHMSG[ \t]+" + _WORD * 2 + rb"(" + _WORD + rb")?(\d+)[ \t]+(\d+)\r\n")

__all__ = ["PING_PROTO", "Client", "Msg", "Srv", "Subscription", "nats"]

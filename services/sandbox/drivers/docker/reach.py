"""Whether the containers of a runtime can use the socket of the egress proxy: not all open Unix sockets of the host.

gVisor does with `--host-uds=open` alone, and Kata does not. Sandboxes would then have no network without a word.
"""

from typing import Final

from holdfast.bus.ids import Key
from holdfast.bus.tools import SANDBOX
from holdfast.sandbox.drivers.bubblewrap.arguments import EGRESS
from holdfast.sandbox.drivers.docker import diagnosis
from holdfast.sandbox.drivers.hand_spec import HandSpec
from holdfast.sandbox.drivers.sandbox import Sandbox
from holdfast.sandbox.egress import NO_EGRESS, Egress
from holdfast.sandbox.proxies.egress_proxy import SOCKET
from holdfast.sandbox.settings import SandboxSettings

CONNECT: Final = f"""python3 -I -S -c 'import socket; socket.socket(socket.AF_UNIX).connect("{EGRESS}/{SOCKET}")'"""
"""A command that fails where the socket cannot be used."""


def probe_spec(settings: SandboxSettings) -> HandSpec:
    """That of a sandbox of no session, with a network if sandboxes may have one."""
    egress = Egress("limited") if settings.egress == "on" else NO_EGRESS
    return HandSpec(key=Key("probe", "probe"), kind=SANDBOX, generation="probe", egress=egress)


async def require(sandbox: Sandbox, runtime: str) -> None:
    """Raise SandboxUnavailable if the sandbox, which has a network, cannot use it; SandboxLost if it has ended."""
    if (await sandbox.run("egress", "bash", {"command": CONNECT})).is_error:
        raise diagnosis.no_way_out(runtime)

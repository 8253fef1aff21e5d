"""The way out of a sandbox, the same for every driver: a socket of the egress proxy, to be bound into the sandbox."""

import contextlib
from collections.abc import AsyncGenerator
from pathlib import Path

from holdfast.sandbox.drivers.hand_spec import HandSpec
from holdfast.sandbox.drivers.worker_homes import as_unavailable
from holdfast.sandbox.proxies.egress_proxy import EgressLimits, EgressProxy, EgressRoute
from holdfast.sandbox.settings import SandboxSettings


def make_proxy(settings: SandboxSettings) -> EgressProxy:
    """The egress proxy of a worker with these settings."""
    return EgressProxy(EgressLimits(settings.egress_connections, settings.egress_bytes), settings.exempt_hosts)


@contextlib.asynccontextmanager
async def way_out(proxy: EgressProxy, spec: HandSpec, home: Path) -> AsyncGenerator[EgressRoute | None]:
    """The way out of a sandbox that is made in the block; None if it gets none. Its folder is in `home`.

    Whoever ends the sandbox closes it; if the block fails it is closed here. Raises SandboxUnavailable.
    """
    route = None
    if spec.egress.networking != "none":
        with as_unavailable("the socket of the egress proxy cannot be made"):
            route = proxy.open(spec.egress, spec.key, spec.generation, home / "egress" / spec.generation)
    try:
        yield route
    except BaseException:
        if route is not None:
            await route.close()
        raise

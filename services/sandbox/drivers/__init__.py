"""The registry of sandbox drivers. Every driver isolates, and `tests/escape/` runs over all of them."""

from holdfast.process.settings import BadSettings
from holdfast.sandbox.drivers.bubblewrap.driver import Bubblewrap
from holdfast.sandbox.drivers.docker.driver import Docker
from holdfast.sandbox.drivers.driver import Driver, SandboxUnavailable
from holdfast.sandbox.drivers.sandbox import Outcome, Sandbox, SandboxLost
from holdfast.sandbox.settings import SandboxSettings

DRIVERS = {"bubblewrap": Bubblewrap, "docker": Docker}
"""One line per driver: its name in the setting `driver`, and its class."""

__all__ = ["DRIVERS", "Driver", "Outcome", "Sandbox", "SandboxLost", "SandboxUnavailable", "make_driver"]


def make_driver(settings: SandboxSettings) -> Driver:
    """The driver that the setting `driver` names. Raises BadSettings."""
    if settings.driver not in DRIVERS:
        raise BadSettings(f"HOLDFAST_DRIVER: one of {', '.join(DRIVERS)}, auto")
    return DRIVERS[settings.driver](settings)

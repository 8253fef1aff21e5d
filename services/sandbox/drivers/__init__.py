"""Which drivers there are. One without isolation is never among them; `tests/escape/` runs over all of them."""

from holdfast.sandbox.drivers.bubblewrap.driver import Bubblewrap
from holdfast.sandbox.drivers.driver import Driver, SandboxUnavailable
from holdfast.sandbox.drivers.sandbox import Outcome, Sandbox, SandboxLost
from holdfast.sandbox.settings import SandboxSettings

DRIVERS = {"bubblewrap": Bubblewrap}
"""One line per driver: how the settings name it, and what makes it."""

__all__ = ["DRIVERS", "Driver", "Outcome", "Sandbox", "SandboxLost", "SandboxUnavailable", "make_driver"]


def make_driver(settings: SandboxSettings) -> Driver:
    """The driver that the settings name."""
    return DRIVERS[settings.driver](settings)

"""`python -m services.sandbox`."""

from services.process.lifecycle import launch
from services.sandbox.drivers.delegation import enter_delegated_group
from services.sandbox.main import main
from services.sandbox.settings import SandboxSettings

if __name__ == "__main__":
    enter_delegated_group()
    launch("sandbox", SandboxSettings, main)

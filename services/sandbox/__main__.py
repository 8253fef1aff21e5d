"""`python -m holdfast.sandbox`."""

from holdfast.process.lifecycle import launch
from holdfast.sandbox.drivers.delegation import enter_delegated_group
from holdfast.sandbox.main import main
from holdfast.sandbox.settings import SandboxSettings

if __name__ == "__main__":
    enter_delegated_group()
    launch("sandbox", SandboxSettings, main)

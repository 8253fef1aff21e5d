"""`python -m holdfast.sandbox`."""

from holdfast.process.lifecycle import launch
from holdfast.sandbox.main import main
from holdfast.sandbox.settings import SandboxSettings

if __name__ == "__main__":
    launch("sandbox", SandboxSettings, main)

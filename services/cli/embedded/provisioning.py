"""`python -m holdfast.cli.embedded.provisioning`: makes the streams and buckets of a stack, in a process of its own.

In the process of `holdfast up` the modules of the bus would stay loaded for as long as the stack runs. This process
loads them while NATS starts, waits for the go, and ends when everything is there.
"""

import asyncio
import sys

import holdfast.process.lean_imports  # noqa: F401  # pyright: ignore[reportUnusedImport]

# isort: split

from holdfast.bus.jetstream.provision import main
from holdfast.process import logs
from holdfast.process.go import wait_for_go

if __name__ == "__main__":
    logs.setup("up", "warning")
    wait_for_go()
    sys.exit(asyncio.run(main()))

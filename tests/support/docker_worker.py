"""A process that holds a sandbox of the driver `docker`, as a worker does: `docker_worker DATA SOCKET DEADLINE_S`.

It prints its worker id and the process id of the sandbox, and then waits. It has said that it holds its lease for
DEADLINE_S more seconds, and says so no more.
"""

import asyncio
import sys

from holdfast.bus.ids import Key, new_id, new_session_id
from holdfast.bus.tools import SANDBOX
from holdfast.sandbox.drivers.docker.driver import Docker
from holdfast.sandbox.drivers.hand_spec import HandSpec
from tests.support.isolation import sandbox_settings


async def main(data: str, socket: str, deadline_s: float) -> None:
    driver = Docker(sandbox_settings(driver="docker", data_dir=data, docker_socket=socket))
    worker = new_id("wrk")
    await driver.open(worker)
    spec = HandSpec(key=Key("default", new_session_id()), kind=SANDBOX, generation=new_id("sbx"))
    sandbox = await driver.create(spec)
    await sandbox.run("a", "bash", {"command": "sleep 98765 &"})
    driver.keep_until(asyncio.get_running_loop().time() + deadline_s)
    (container,) = driver._processes
    print(worker, container.pid, flush=True)  # noqa: T201  read by the test
    await asyncio.sleep(600)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))

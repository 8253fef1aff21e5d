"""`/readyz` of each service while something that it needs is away, and after it is back."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.sandbox.drivers.bubblewrap import hierarchy
from tests.support.bao import BaoServer
from tests.support.eventually import eventually
from tests.support.harness import HarnessProcess
from tests.support.sandbox import WorkerProcess
from tests.support.servers import NatsServer, nats_server

Service = HarnessProcess | WorkerProcess

TIMEOUT_S = 30.0


class Services:
    """The four services as processes of their own, on a real nats-server and a real OpenBao."""

    def __init__(self, folder: Path, nats: NatsServer, bao: BaoServer) -> None:
        on_bus = {"HOLDFAST_NATS_URL": nats.url}
        settings = {
            "session": {"HOLDFAST_PORT": "0"},
            "harness": {"HOLDFAST_MODEL": "messages", "HOLDFAST_MODEL_BASE_URL": "http://127.0.0.1:9"},
            "vault": bao.environ(),
        }
        self.nats = nats
        self.bao = bao
        self.worker = WorkerProcess(nats.url, folder, probe_interval=1)
        self.others = {
            name: HarnessProcess(folder, name=name, service=name, environ={**on_bus, **given})
            for name, given in settings.items()
        }
        self.all: dict[str, Service] = {"sandbox": self.worker, **self.others}

    async def checks(self, name: str) -> dict[str, dict[str, Any]]:
        """Each check of that service as it is shown; empty while nothing answers."""
        service = self.all[name]
        body = (await service.probe())[1] if isinstance(service, WorkerProcess) else await service.report()
        return body.get("checks", {})

    async def report(self, name: str) -> dict[str, bool]:
        """Whether each check of that service is true; empty while nothing answers."""
        return {check: found["ok"] for check, found in (await self.checks(name)).items()}

    async def wait_until(self, name: str, ready: bool, *, failing: str = "") -> None:
        """Wait until the service says that it is ready, or that it is not because of the check `failing`."""

        async def said() -> bool:
            checks = await self.report(name)
            return bool(checks) and (all(checks.values()) if ready else not checks[failing])

        what = f"{name} ready" if ready else f"{name} not ready: {failing}"
        await eventually(said, within=TIMEOUT_S, what=what)

    async def are_ready(self) -> None:
        for name in self.all:
            await self.wait_until(name, True)


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    bao = BaoServer(tmp_path / "bao")
    async with nats_server(tmp_path / "nats") as nats:
        made = Services(tmp_path, nats, bao)
        with contextlib.ExitStack() as ending:
            ending.callback(bao.kill)
            await bao.start()
            for service in made.all.values():
                ending.callback(service.kill)
                service.begin()
            await made.are_ready()
            yield made


@pytest.mark.usefixtures("isolation")
@pytest.mark.parametrize("how", ["killed", "frozen"])
async def test_no_service_is_ready_without_nats_and_all_are_when_it_is_back(services: Services, how: str) -> None:
    if how == "killed":
        services.nats.kill()
    else:
        services.nats.signal(signal.SIGSTOP)
    try:
        for name in services.all:
            await services.wait_until(name, False, failing="bus")
    finally:
        if how == "frozen":
            services.nats.signal(signal.SIGCONT)
    began_at = time.monotonic()
    if how == "killed":
        await services.nats.start()
    await services.are_ready()

    async def compared() -> bool:
        checks = await services.checks("session")
        passed = time.monotonic() - began_at
        return all(checks[name]["age"] < passed for name in ("keys", "agents", "environments"))

    await eventually(compared, within=TIMEOUT_S, what="keys, agents and environments are compared with their buckets")


@pytest.mark.usefixtures("isolation")
async def test_the_vault_alone_is_not_ready_without_its_store(services: Services) -> None:
    services.bao.kill()
    await services.wait_until("vault", False, failing="store")
    assert (await services.report("vault"))["bus"]
    for name in ("session", "harness", "sandbox"):
        assert all((await services.report(name)).values()), name
    await services.bao.start()
    await services.are_ready()


@pytest.mark.usefixtures("strong_limits")
async def test_an_idle_worker_is_not_ready_when_its_control_groups_refuse_processes(services: Services) -> None:
    membership = await asyncio.to_thread(Path(f"/proc/{services.worker.pid}/cgroup").read_text)
    root = hierarchy.find(membership=membership).roots["pids"]
    (group,) = [
        group
        for group in await asyncio.to_thread(lambda: list(root.glob(f"{hierarchy.PREFIX}wrk_*")))
        if (services.worker.data / "run" / group.name.removeprefix(hierarchy.PREFIX)).exists()
    ]
    limit = group / "pids.max"
    limit.write_text("0")
    try:
        await services.wait_until("sandbox", False, failing="sandbox")
        assert (await services.report("sandbox"))["bus"]
    finally:
        limit.write_text("max")
    await services.are_ready()

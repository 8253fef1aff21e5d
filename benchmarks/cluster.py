"""A system on three nats-servers with three copies of every stream: the session service and harnesses as processes of
their own, without `holdfast up` and without sandboxes."""

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

from benchmarks.rig import RETRIES, Options, Rig
from holdfast.cli.embedded.ports import free_port
from holdfast.cli.embedded.runfile import RunFile
from holdfast.process.api_keys import new_api_key
from tests.support.cluster import nats_cluster, provisioned, urls
from tests.support.harness import HarnessProcess
from tests.support.model import ScriptedModel, scripted_model
from tests.support.stack import Stack

HARNESSES = 3


class ClusterStack(Stack):
    """What a `Rig` needs of a stack, over services that were started one by one."""

    def __init__(self, folder: Path, model: ScriptedModel, environ: Mapping[str, str], nats_url: str) -> None:
        super().__init__(folder, model, {}, HARNESSES)
        key_file, port, self._api_key = folder / "api.key", free_port(), new_api_key()
        key_file.write_text(self._api_key)
        model_key_file = folder / "model.key"
        model_key_file.write_text(self.model_key)
        common = {"HOLDFAST_NATS_URL": nats_url, **environ}
        self._base_url = f"http://127.0.0.1:{port}"
        self._nats_url = nats_url
        edge = {**common, "HOLDFAST_PORT": str(port), "HOLDFAST_API_KEY_FILE": str(key_file)}
        harness = {
            **common,
            **RETRIES,
            "HOLDFAST_MODEL_BASE_URL": model.base_url,
            "HOLDFAST_MODEL_KEY_FILE": str(model_key_file),
        }
        names = [f"harness-{number}" for number in range(1, HARNESSES + 1)]
        self._services = {
            "session": HarnessProcess(folder, name="session", environ=edge, service="session"),
            **{name: HarnessProcess(folder, name=name, environ=harness) for name in names},
        }

    async def start_all(self) -> None:
        """Start all services, and return when they are ready."""
        await asyncio.gather(*(service.start() for service in self._services.values()))

    @property
    def run(self) -> RunFile:
        return RunFile(
            base_url=self._base_url,
            api_key=self._api_key,
            data=str(self.data),
            logs=str(self.data),
            nats_url=self._nats_url,
            credentials={"session": "", "admin": ""},
            supervisor=0,
            processes={name: service.pid for name, service in self._services.items()},
            health={},
        )

    async def replaced(self, name: str, old: int) -> int:  # noqa: ARG002  nobody else starts it again
        """Start the process again, and return its id when it is ready."""
        self._services[name].kill()
        await self._services[name].start()
        return self._services[name].pid

    def kill_all(self) -> None:
        for service in self._services.values():
            service.kill()


@contextlib.asynccontextmanager
async def cluster_rig(options: Options) -> AsyncGenerator[Rig]:
    """The running system with its model."""
    folder = options.folder / "cluster"
    folder.mkdir()
    with scripted_model("--bench", log=folder / "model.log") as model:
        async with nats_cluster(folder) as servers:
            admin = await provisioned(servers)
            await admin.close()
            stack = ClusterStack(folder, model, options.environ, urls(servers))
            try:
                await stack.start_all()
                yield Rig(options, stack, model)
            finally:
                stack.kill_all()

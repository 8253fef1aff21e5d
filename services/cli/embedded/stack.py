"""The embedded stack: nats-server, OpenBao and the four services as processes on loopback, state below one folder."""

import os
import sys
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import msgspec

from holdfast.bus.readers import Reader, parse_readers, users
from holdfast.cli.embedded import bao_config, model_endpoint, nats, openbao, registry
from holdfast.cli.embedded.environment import (
    ALLOW_WEAK_LIMITS,
    INHERITED,
    SANDBOX_INHERITED,
    child_environment,
    is_cloud,
    model_environment,
)
from holdfast.cli.embedded.layout import NATS_USERS, Layout, write_private
from holdfast.cli.embedded.model_endpoint import Endpoint, OwnStack
from holdfast.cli.embedded.model_variables import KIND, VENDOR_KEY, VENDOR_URL
from holdfast.cli.embedded.probes import http_ready, nats_ready
from holdfast.cli.embedded.procfs import started
from holdfast.cli.embedded.program import Program, never_ready
from holdfast.cli.embedded.runfile import RunFile
from holdfast.process.health import LOOPBACK
from holdfast.process.settings import BadSettings, ProcessSettings, load

PROVISIONED: Final = "provisioned"
"""Milestone: streams, buckets and the durable consumer exist."""

MODEL: Final = "model"
"""Name of the scripted model's process."""

SCENARIO: Final = Path(__file__).parents[2] / "scripted_model" / "scenarios" / "welcome.yaml"
"""What the scripted model of `holdfast up --scripted` plays."""

SCRIPTED_KEY: Final = "scripted"
"""The scripted model accepts any key, but wants one."""

DEFAULT_PORT: Final = 8700
"""Port of the HTTP API when neither --port nor an earlier start names one."""

STOP_MARGIN_S: Final = 2.0
"""A service that was asked to stop is killed this long after its drain timeout."""


class Stack:
    """The decisions before the first process starts: ports, addresses, the model. `prepare` writes them to disk.

    Raises Busy, BadEndpoint or BadSettings.
    """

    def __init__(
        self,
        layout: Layout,
        *,
        port: int | None,
        harnesses: int,
        sync: str,
        model_url: str = "",
        scripted: bool = False,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self.layout = layout
        self._environ = environ
        self._common = child_environment(environ)
        self._drain = load(ProcessSettings, environ).drain_timeout
        self.port = layout.fixed_port("edge", port, DEFAULT_PORT)
        self.nats_port = layout.port("nats")
        self.bao_port = layout.port("bao")
        self.harnesses = [f"harness-{n}" for n in range(1, harnesses + 1)]
        services = ["session", *self.harnesses, "sandbox", "vault"]
        self.health_ports = {name: layout.port(f"{name}-health") for name in services}
        self.nats_url = f"nats://127.0.0.1:{self.nats_port}"
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.scripted = scripted
        self.model_port = layout.port("model") if scripted else 0
        self.model = self._model_endpoint(model_url)
        models_file = environ.get("HOLDFAST_MODELS_FILE", "")
        self._models_file = str(Path(models_file).absolute()) if models_file else ""  # services run in another folder
        self._sync = sync
        self._readers = _readers(environ)
        self._bao_cluster_port = layout.port("bao-cluster")

    def prepare(self) -> list[Program]:
        """Write the secrets, the configuration files and the chosen ports, and return the programs to run.

        Raises Missing if a server is not installed, and OSError.
        """
        programs = [
            self._nats(),
            self._bao(),
            self._session(),
            *(self._harness(name) for name in self.harnesses),
            self._sandbox(),
            self._vault(),
            *([self._scripted_model()] if self.scripted else []),
        ]
        self.layout.save()
        return programs

    @property
    def stop_order(self) -> list[list[str]]:
        """The session service first, so that no new request comes in; NATS last, so that all others can close."""
        model = [[MODEL]] if self.scripted else []
        return [["session"], self.harnesses, *model, ["sandbox"], ["vault"], ["bao"], ["nats"]]

    def run_file(self, pids: Mapping[str, int]) -> RunFile:
        """The content of run.json; `pids` are the processes that are ready now."""
        return RunFile(
            base_url=self.base_url,
            api_key=self.layout.api_key(),
            data=str(self.layout.data),
            logs=str(self.layout.logs),
            nats_url=self.nats_url,
            bao_url=f"https://127.0.0.1:{self.bao_port}",
            credentials={
                user: str(self.layout.nats_credentials(user)) for user in (*NATS_USERS, *users(self._readers))
            },
            supervisor=os.getpid(),
            supervisor_started=started(os.getpid()),
            processes=dict(pids),
            health={name: f"http://127.0.0.1:{port}" for name, port in self.health_ports.items()},
            version=version("holdfast-agents"),
            model_base_url=self._model_name(),
            models_file=self._models_file,
            has_model_key=is_cloud(self._environ) or not self.model.lacks_key,
        )

    def provisioner(self) -> Program:
        """The program that makes the streams and buckets and ends. The supervisor does not know it."""
        return Program(
            name="provision",
            argv=[sys.executable, "-P", "-m", "holdfast.cli.embedded.provisioning"],
            env={
                **self._common,
                "HOLDFAST_NATS_URL": self.nats_url,
                "HOLDFAST_NATS_CREDENTIALS": str(self.layout.nats_credentials("admin")),
            },
            log=self.layout.log("up"),
            probe=never_ready,
            needs=("nats",),
        )

    def _nats(self) -> Program:
        nats.remove_unfinished(self.layout.nats)
        config = nats.write_config(self.layout, self.nats_port, self._sync, self._readers)
        return Program(
            name="nats",
            argv=[nats.binary(), "--config", str(config)],
            env={"PATH": self._common.get("PATH", ""), "GOMAXPROCS": str(nats.processors())},
            log=self.layout.log("nats"),
            probe=nats_ready(self.nats_port, nats.server_name(self.layout)),
        )

    def _bao(self) -> Program:
        config = openbao.write_config(self.layout, self.bao_port, self._bao_cluster_port)
        return Program(
            name="bao",
            argv=[openbao.binary(), "server", "-config", str(config)],
            env={"PATH": self._common.get("PATH", ""), **openbao.ENVIRONMENT},
            log=self.layout.log("bao"),
            probe=http_ready(self.bao_port, "/v1/sys/health", openbao.trust(self.layout)),
        )

    def _session(self) -> Program:
        self.layout.api_key()
        models = {"models_file": self._models_file} if self._models_file else {}
        return self._service(
            "session",
            **models,
            session_data=self.layout.session,
            disk_folder=self.layout.nats,
            port=self.port,
            api_key_file=self.layout.api_key_file,
        )

    def _model_endpoint(self, url: str) -> Endpoint:
        """The address and key of the model. Raises BadEndpoint."""
        if self.scripted:
            return Endpoint(base_url=f"http://127.0.0.1:{self.model_port}", key=SCRIPTED_KEY)
        environ = self._environ
        if is_cloud(environ):  # the key of the vendor is none of a cloud
            environ = {name: value for name, value in environ.items() if name not in (VENDOR_URL, VENDOR_KEY)}
        own = [OwnStack(self.port, self.layout.known_api_key())]
        others = registry.stacks(self._environ)
        own += [OwnStack(urlsplit(run.base_url).port or 0, run.api_key) for run in others]
        return model_endpoint.choose(environ, url=url, own=own)

    def _model_name(self) -> str:
        """The address of the model; the name of the cloud if its client derives the address."""
        derived = is_cloud(self._environ) and self.model.base_url == model_endpoint.VENDOR
        return self._environ[KIND] if derived else self.model.base_url

    def _harness(self, name: str) -> Program:
        settings: dict[str, object] = {"name": name, "model_base_url": self.model.base_url}
        if self.scripted and is_cloud(self._environ):
            settings["model"] = "anthropic"
        if self._models_file:
            settings["models_file"] = self._models_file
        if self.model.key:
            write_private(self.layout.model_key_file, self.model.key.encode())
            settings["model_key_file"] = self.layout.model_key_file
        else:
            self.layout.model_key_file.unlink(missing_ok=True)
            if self.model.key_file:
                settings["model_key_file"] = Path(self.model.key_file).absolute()
        program = self._service("harness", name, **settings)
        inherited = model_environment(self._environ, is_local=model_endpoint.is_local(self.model.base_url))
        return msgspec.structs.replace(program, env={**inherited, **program.env}, fork_server="harness")

    def _scripted_model(self) -> Program:
        return Program(
            name=MODEL,
            argv=[
                sys.executable, "-P", "-m", "holdfast.scripted_model",
                "--scenario", str(SCENARIO), "--port", str(self.model_port),
            ],
            env={name: value for name, value in self._common.items() if name in INHERITED},
            log=self.layout.log(MODEL),
            probe=http_ready(self.model_port, "/_health"),
        )  # fmt: skip

    def _sandbox(self) -> Program:
        program = self._service("sandbox", data_dir=self.layout.sandbox)
        wanted = {name: self._environ[name] for name in SANDBOX_INHERITED if name in self._environ}
        # On a user's own machine weaker limits are better than no sandbox. Run by itself, the service refuses them.
        weak = {} if ALLOW_WEAK_LIMITS in self._environ else {ALLOW_WEAK_LIMITS: "true"}
        return msgspec.structs.replace(program, env={**program.env, **wanted, **weak})

    def _vault(self) -> Program:
        return self._service(
            "vault",
            vault_url=f"https://127.0.0.1:{self.bao_port}",
            vault_ca_file=openbao.certificate(self.layout),
            vault_mount=bao_config.MOUNT,
            vault_auth=bao_config.AUTH,
            vault_role_id=bao_config.ROLE_ID,
            vault_secret_id_file=self.layout.secrets / openbao.VAULT_SECRET,
        )

    def _service(self, kind: str, label: str = "", **settings: object) -> Program:
        """A service of ours. `settings` are fields of its settings; they win over the variables of the user."""
        label = label or kind
        fixed = {
            "nats_url": self.nats_url,
            "nats_credentials": self.layout.nats_credentials(kind),
            "health_port": self.health_ports[label],
            "health_host": LOOPBACK,
        }
        given = {f"HOLDFAST_{field.upper()}": str(value) for field, value in {**settings, **fixed}.items()}
        fault = self._environ.get("HOLDFAST_FAULT_" + label.upper().replace("-", "_"))
        return Program(
            name=label,
            argv=[sys.executable, "-P", "-m", f"holdfast.{kind}"],
            env={**self._common, **given},
            log=self.layout.log(label),
            probe=http_ready(self.health_ports[label]),
            needs=(PROVISIONED,),
            first_env={"HOLDFAST_FAULT": fault} if fault else {},
            stop_timeout=self._drain + STOP_MARGIN_S,
        )


def _readers(environ: Mapping[str, str]) -> list[Reader]:
    """The readers of public events. Raises BadSettings."""
    try:
        return parse_readers(environ.get("HOLDFAST_READERS", ""))
    except ValueError as exc:
        raise BadSettings(f"HOLDFAST_READERS: {exc}") from None

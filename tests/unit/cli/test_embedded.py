import asyncio
import os
import socket
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from holdfast.cli.embedded.environment import child_environment, is_cloud, model_environment
from holdfast.cli.embedded.layout import MAX_LOG_BYTES, BadFolder, Busy, Layout, write_private
from holdfast.cli.embedded.ports import why_not
from holdfast.cli.embedded.probes import nats_ready, readiness
from holdfast.cli.embedded.program import Readiness
from holdfast.cli.embedded.runfile import RunFile, read, running, write
from holdfast.cli.embedded.stack import Stack
from holdfast.harness.models.registry import CLOUDS
from holdfast.process.health import Check, Report


def test_children_get_no_key_no_fault_and_nothing_that_is_not_theirs() -> None:
    environ = {
        "PATH": "/bin",
        "HOME": "/root",
        "ANTHROPIC_API_KEY": "sk-ant-x",
        "ANTHROPIC_BASE_URL": "http://x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "HOLDFAST_API_KEY": "hf_x",
        "HOLDFAST_MODEL_API_KEY": "sk-ant-x",
        "HOLDFAST_MODEL_KEY_FILE": "/k",
        "HOLDFAST_FAULT_HARNESS_1": "x:kill",
        "HOLDFAST_LOG_LEVEL": "debug",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
        "LD_PRELOAD": "x",
    }
    assert child_environment(environ) == {
        "PATH": "/bin",
        "HOLDFAST_LOG_LEVEL": "debug",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
    }


def test_the_harnesses_get_the_proxy_and_the_cloud_that_is_chosen() -> None:
    environ = {
        "HTTPS_PROXY": "http://p",
        "no_proxy": "x",
        "HOME": "/root",
        "AWS_REGION": "r",
        "GOOGLE_APPLICATION_CREDENTIALS": "/g",
        "ANTHROPIC_FOUNDRY_API_KEY": "f",
        "ANTHROPIC_API_KEY": "sk-ant-x",
        "LD_PRELOAD": "x",
    }
    proxy = {"HTTPS_PROXY": "http://p", "no_proxy": "x"}
    assert model_environment(environ, is_local=False) == proxy
    assert model_environment(environ, is_local=True) == {}
    chosen = {
        "anthropic": {},
        "messages": {},
        "bedrock": {"HOME": "/root", "AWS_REGION": "r"},
        "vertex": {"HOME": "/root", "GOOGLE_APPLICATION_CREDENTIALS": "/g"},
        "foundry": {"ANTHROPIC_FOUNDRY_API_KEY": "f"},
    }
    for kind, expected in chosen.items():
        assert model_environment({**environ, "HOLDFAST_MODEL": kind}, is_local=False) == {**proxy, **expected}
        assert is_cloud({"HOLDFAST_MODEL": kind}) == (kind in CLOUDS)


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    made = Layout(tmp_path / "data")
    made.open()
    return made


def test_the_programs_of_a_stack(layout: Layout) -> None:
    environ = {
        "PATH": "/bin",
        "ANTHROPIC_API_KEY": "sk-ant-canary",
        "ANTHROPIC_BASE_URL": "http://127.0.0.1:9",
        "HOLDFAST_FAULT_HARNESS_2": "before-ack:kill",
        "HOLDFAST_MAX_TOKENS": "5000",
    }
    stack = Stack(layout, port=0, harnesses=2, sync="always", environ=environ)
    programs = {program.name: program for program in stack.prepare()}
    assert set(programs) == {"nats", "bao", "session", "harness-1", "harness-2", "sandbox", "vault"}
    assert {name for group in stack.stop_order for name in group} == set(programs)
    assert programs["harness-2"].first_env == {"HOLDFAST_FAULT": "before-ack:kill"}
    assert programs["harness-1"].first_env == {}
    assert programs["harness-1"].env["HOLDFAST_MAX_TOKENS"] == "5000"
    assert programs["harness-1"].env["HOLDFAST_MODEL_BASE_URL"] == "http://127.0.0.1:9"
    for program in programs.values():
        assert "sk-ant-canary" not in str(program)
    assert "HOLDFAST_MODEL_KEY_FILE" not in programs["sandbox"].env
    assert Path(programs["harness-1"].env["HOLDFAST_MODEL_KEY_FILE"]).read_text() == "sk-ant-canary"
    ports = [*stack.health_ports.values(), stack.port, stack.nats_port, stack.bao_port]
    assert len(set(ports)) == len(ports)


def test_the_sandbox_alone_may_ask_systemd_and_weak_limits_are_consented_to(layout: Layout) -> None:
    bus = {"XDG_RUNTIME_DIR": "/run/user/1", "DBUS_SESSION_BUS_ADDRESS": "unix:path=/run/user/1/bus"}
    programs = Stack(layout, port=0, harnesses=1, sync="1s", environ=bus).prepare()
    for program in programs:
        got = {name: program.env[name] for name in (*bus, "HOLDFAST_ALLOW_WEAK_LIMITS") if name in program.env}
        expected = {**bus, "HOLDFAST_ALLOW_WEAK_LIMITS": "true"} if program.name == "sandbox" else {}
        assert got == expected, program.name
    strict = Stack(layout, port=0, harnesses=1, sync="1s", environ={"HOLDFAST_ALLOW_WEAK_LIMITS": "false"}).prepare()
    sandbox = next(program for program in strict if program.name == "sandbox")
    assert sandbox.env["HOLDFAST_ALLOW_WEAK_LIMITS"] == "false"


def test_a_cloud_gets_no_key_of_the_vendor_and_is_named_in_place_of_an_address(layout: Layout) -> None:
    environ = {"HOLDFAST_MODEL": "bedrock", "AWS_REGION": "r", "ANTHROPIC_API_KEY": "sk-ant-canary"}
    stack = Stack(layout, port=0, harnesses=1, sync="1s", environ=environ)
    programs = {program.name: program for program in stack.prepare()}
    assert programs["harness-1"].env["AWS_REGION"] == "r"
    assert programs["harness-1"].env["HOLDFAST_MODEL"] == "bedrock"
    assert "HOLDFAST_MODEL_KEY_FILE" not in programs["harness-1"].env
    assert not [name for name, program in programs.items() if name != "harness-1" and "AWS_REGION" in program.env]
    run = stack.run_file({})
    assert (run.model_base_url, run.has_model_key) == ("bedrock", True)
    scripted = Stack(layout, port=0, harnesses=1, sync="1s", scripted=True, environ=environ).prepare()
    assert next(p for p in scripted if p.name == "harness-1").env["HOLDFAST_MODEL"] == "anthropic"


def test_a_scripted_model_is_one_more_process(layout: Layout) -> None:
    theirs = {"ANTHROPIC_API_KEY": "sk-ant-canary", "ANTHROPIC_BASE_URL": "http://127.0.0.1:9"}
    stack = Stack(layout, port=0, harnesses=1, sync="1s", scripted=True, environ=theirs)
    programs = {program.name: program for program in stack.prepare()}
    assert programs["harness-1"].env["HOLDFAST_MODEL_BASE_URL"] == f"http://127.0.0.1:{stack.model_port}"
    assert layout.model_key_file.read_text() == "scripted"
    assert {name for group in stack.stop_order for name in group} == set(programs)
    run = stack.run_file({})
    assert (run.model_base_url, run.has_model_key) == (f"http://127.0.0.1:{stack.model_port}", True)
    assert not Stack(layout, port=0, harnesses=1, sync="1s", environ={}).run_file({}).has_model_key


def test_the_data_folder_ignores_itself_in_git(tmp_path: Path) -> None:
    Layout(tmp_path / "new").open()
    assert (tmp_path / "new" / ".gitignore").read_text() == "*\n"
    (tmp_path / "new2").mkdir()
    Layout(tmp_path / "new2").open()
    assert (tmp_path / "new2" / ".gitignore").read_text() == "*\n"
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "main.py").touch()
    Layout(tmp_path / "project").open()
    assert not (tmp_path / "project" / ".gitignore").exists()
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "stack.json").write_text('{"id": "x"}')
    (tmp_path / "old" / ".gitignore").write_text("mine\n")
    Layout(tmp_path / "old").open()
    assert (tmp_path / "old" / ".gitignore").read_text() == "mine\n"


def test_a_folder_that_cannot_be_used_is_a_sentence(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(BadFolder, match=r"(?s)it is a file.*--data FOLDER"):
        Layout(file).open()
    with pytest.raises(BadFolder, match="a part of the path is a file"):
        Layout(file / "below").open()
    with pytest.raises(BadFolder, match="too long"):
        Layout(tmp_path / ("x" * 300)).open()
    with pytest.raises(BadFolder, match="quote"):
        Layout(tmp_path / 'with"quote').open()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "stack.json").write_text("{")
    with pytest.raises(BadFolder, match=r"stack\.json is damaged"):
        Layout(tmp_path / "bad").open()
    with pytest.raises(BadFolder, match="/proc/none: "):
        Layout(Path("/proc/none")).open()


def test_why_a_port_cannot_be_had() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        assert "in use by another process" in why_not(other.getsockname()[1])
    assert why_not(0) == ""


def test_a_key_of_an_earlier_start_is_not_kept(layout: Layout) -> None:
    Stack(layout, port=0, harnesses=1, sync="1s", environ={"ANTHROPIC_API_KEY": "sk-ant-canary"}).prepare()
    assert layout.model_key_file.exists()
    Stack(layout, port=0, harnesses=1, sync="1s", environ={}).prepare()
    assert not layout.model_key_file.exists()


def test_everything_private_is_private(layout: Layout) -> None:
    Stack(layout, port=0, harnesses=1, sync="1s", environ={"ANTHROPIC_API_KEY": "sk-ant-canary"}).prepare()
    for path in layout.data.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_keys_and_ports_are_kept(layout: Layout) -> None:
    stack = Stack(layout, port=0, harnesses=2, sync="always", environ={})
    again = Layout(layout.data)
    with pytest.raises(Busy, match=rf"(?s)process id {os.getpid()}.*--data"):
        again.open()
    again.state = layout.state
    other = Stack(again, port=0, harnesses=2, sync="always", environ={})
    assert other.health_ports == stack.health_ports
    assert (other.port, other.nats_port, other.bao_port) == (stack.port, stack.nats_port, stack.bao_port)
    assert again.api_key() == layout.api_key()
    assert again.nats_password("vault") == layout.nats_password("vault")


def test_a_port_in_use_is_named_with_the_way_out(layout: Layout) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(Busy, match=rf"(?s)port {port} .*in use.*--port"):
            Stack(layout, port=port, harnesses=1, sync="always", environ={})
        layout.state.ports["nats"] = port
        assert layout.port("nats") != port


async def test_a_foreign_nats_server_is_not_taken_for_ours() -> None:
    async def greet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'INFO {"server_name":"somebody-else"} \r\n')
        writer.close()

    server = await asyncio.start_server(greet, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        assert "somebody-else" in (await nats_ready(port, "holdfast-1")()).cause
        assert await nats_ready(port, "somebody-else")() == Readiness(True)
    assert await nats_ready(port, "holdfast-1")() == Readiness(False)


def test_readiness_carries_cause_and_notes() -> None:
    def report(ok: bool, **checks: Check) -> bytes:
        return msgspec.json.encode(Report("sandbox", ok, False, 0.0, checks, {"limits": "weak"}))

    weak = {"limits": "weak"}
    assert readiness(200, report(True, bus=Check(True, 1.0))) == Readiness(True, "", weak)
    assert readiness(503, report(False, bus=Check(False, 1.0))) == Readiness(False, "", weak)
    hopeless = report(False, bus=Check(True, 1.0), sandbox=Check(False, 1.0, "no namespaces"))
    assert readiness(503, hopeless) == Readiness(False, "no namespaces", weak)
    assert readiness(200, b"{}") == Readiness(True)
    assert readiness(0, b"") == Readiness(False)


def test_a_run_file_is_replaced_whole_and_private(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    assert read(path) is None
    run = RunFile(
        base_url="http://127.0.0.1:1", api_key="hf_x", data="/d", logs="/d/logs", nats_url="nats://127.0.0.1:2",
        credentials={}, supervisor=1, processes={"nats": 2}, health={},
    )  # fmt: skip
    write(path, run)
    assert read(path) == run
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]
    assert run.workspace("sesn_a0_1") == Path("/d/sandbox/workspaces/default/sesn_a0_1")


def test_a_private_file_never_has_other_permissions(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.write_text("old")
    path.chmod(0o666)
    write_private(path, b"new")
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_log_that_has_grown_is_put_aside_while_its_writer_goes_on(layout: Layout) -> None:
    log = layout.log("session")
    with log.open("ab", buffering=0) as writer:
        writer.write(b"x" * (MAX_LOG_BYTES + 1))
        layout.trim_logs()
        writer.write(b"after\n")
    assert log.read_bytes() == b"after\n"
    assert (layout.logs / "session.log.1").stat().st_size == MAX_LOG_BYTES + 1


def test_a_run_file_left_behind_is_no_running_stack(layout: Layout) -> None:
    assert running(layout.data) is None
    stack = Stack(layout, port=0, harnesses=1, sync="1s", environ={})
    run = stack.run_file({})
    write(layout.run_file, run)
    assert running(layout.data) == run
    write(layout.run_file, replace(run, supervisor_started=1))  # the number was given to another process
    assert running(layout.data) is None
    write(layout.run_file, replace(run, supervisor=2**22 + 1))
    assert running(layout.data) is None

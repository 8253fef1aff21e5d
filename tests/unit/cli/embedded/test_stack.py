"""The programs of an embedded stack: their environment, ports, keys and files."""

import os
import socket
from pathlib import Path

import pytest

from holdfast.cli.embedded.layout import Busy, Layout
from holdfast.cli.embedded.stack import Stack


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


def test_only_the_sandbox_service_may_ask_systemd_and_it_allows_weak_limits(layout: Layout) -> None:
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


def test_the_key_file_of_an_earlier_start_is_removed(layout: Layout) -> None:
    Stack(layout, port=0, harnesses=1, sync="1s", environ={"ANTHROPIC_API_KEY": "sk-ant-canary"}).prepare()
    assert layout.model_key_file.exists()
    Stack(layout, port=0, harnesses=1, sync="1s", environ={}).prepare()
    assert not layout.model_key_file.exists()


def test_a_file_of_models_is_named_from_the_folder_of_the_user(layout: Layout) -> None:
    stack = Stack(layout, port=0, harnesses=1, sync="1s", environ={"HOLDFAST_MODELS_FILE": "models.toml"})
    here = str(Path("models.toml").absolute())
    assert [p.env["HOLDFAST_MODELS_FILE"] for p in stack.prepare() if p.name.startswith("harness")] == [here]
    assert stack.run_file({}).models_file == here
    assert Stack(layout, port=0, harnesses=1, sync="1s", environ={}).run_file({}).models_file == ""


def test_all_files_of_the_data_folder_are_private(layout: Layout) -> None:
    Stack(layout, port=0, harnesses=1, sync="1s", environ={"ANTHROPIC_API_KEY": "sk-ant-canary"}).prepare()
    for path in layout.data.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_keys_and_ports_are_the_same_at_the_next_start(layout: Layout) -> None:
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


def test_the_error_for_a_port_in_use_says_what_to_do(layout: Layout) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(Busy, match=rf"(?s)port {port} .*in use.*--port"):
            Stack(layout, port=port, harnesses=1, sync="always", environ={})
        layout.state.ports["nats"] = port
        assert layout.port("nats") != port

"""Where no container can be made the driver says why, and how to get further. It never runs anything without one."""

from pathlib import Path

import docker
import pytest
from msgspec.structs import replace

from holdfast.bus.ids import new_id
from holdfast.process.settings import BadSettings
from holdfast.sandbox.drivers import SandboxUnavailable
from holdfast.sandbox.drivers.choice import chosen
from holdfast.sandbox.drivers.docker.driver import Docker
from holdfast.sandbox.drivers.hand_spec import UnsupportedHand
from tests.integration.docker_driver.conftest import MakeSettings, spec
from tests.support.docker_engine import NO_SOCKETS


async def refused(driver: Docker, *, creates: bool = False) -> str:
    """The text of the refusal of a sandbox. `creates`: the probe alone refuses."""
    await driver.open(new_id("wrk"))
    try:
        with pytest.raises(SandboxUnavailable) as probed:
            await driver.probe()
        if creates:
            return str(probed.value)
        with pytest.raises(SandboxUnavailable) as made:
            await driver.create(spec())
        assert str(made.value) == str(probed.value)
        return str(made.value)
    finally:
        await driver.close()


async def test_without_an_engine(settings: MakeSettings, tmp_path: Path) -> None:
    text = await refused(Docker(settings(docker_socket=str(tmp_path / "none.sock"))))
    assert "There is no Docker engine" in text
    assert "sudo apt install docker.io" in text
    assert "HOLDFAST_DRIVER=bubblewrap" in text


async def test_without_the_image(settings: MakeSettings) -> None:
    text = await refused(Docker(settings(docker_image="holdfast-none")))
    assert "has no image 'holdfast-none'" in text
    assert "docker build -t holdfast-none deploy/sandbox" in text


async def test_an_image_that_declares_volumes(settings: MakeSettings, engine: docker.APIClient) -> None:
    made = engine.create_container(settings().docker_image, ["true"])
    try:
        image = engine.commit(made["Id"], "holdfast-volumes", changes="VOLUME /data")
    finally:
        engine.remove_container(made["Id"])
    try:
        assert "declares volumes (/data)" in await refused(Docker(settings(docker_image="holdfast-volumes")))
    finally:
        engine.remove_image(image["Id"])


async def test_an_image_without_python(settings: MakeSettings, engine: docker.APIClient) -> None:
    engine.import_image_from_data(b"\0" * 10240, repository="holdfast-empty")
    try:
        text = await refused(Docker(settings(docker_image="holdfast-empty")))
    finally:
        engine.remove_image("holdfast-empty", force=True)
    assert "/usr/bin/env" in text


async def test_a_runtime_that_the_engine_does_not_have_ends_the_start(settings: MakeSettings) -> None:
    with pytest.raises(BadSettings) as bad:
        await Docker(settings(docker_runtime="runsc")).open(new_id("wrk"))
    assert "no runtime 'runsc'" in str(bad.value)
    assert "runc" in str(bad.value).split("it has ")[1]


async def test_a_runtime_whose_containers_open_no_socket_of_the_host(
    settings: MakeSettings, engine: docker.APIClient
) -> None:
    """They would have no network without a word. Without a network such a runtime will do."""
    if NO_SOCKETS not in engine.info()["Runtimes"]:
        pytest.skip("the engine of this machine has not the runtime of the tests")
    text = await refused(Docker(settings(docker_runtime=NO_SOCKETS)), creates=True)
    assert f"the runtime '{NO_SOCKETS}' cannot use the socket of the egress proxy" in text
    assert "export HOLDFAST_EGRESS=off" in text
    driver = Docker(settings(docker_runtime=NO_SOCKETS, egress="off"))
    await driver.open(new_id("wrk"))
    try:
        await driver.probe()
    finally:
        await driver.close()


async def test_auto_takes_docker_where_it_can_be_used_and_else_bubblewrap(
    settings: MakeSettings, tmp_path: Path
) -> None:
    unusable = [
        {"docker_socket": str(tmp_path / "none")},
        {"docker_image": "holdfast-none"},
        {"docker_runtime": "runsc"},
    ]
    assert (await chosen(settings(driver="auto"))).driver == "docker"
    for more in unusable:
        assert (await chosen(settings(driver="auto", **more))).driver == "bubblewrap", more
        assert (await chosen(settings(driver="docker", **more))).driver == "docker", (
            "what was asked for is never changed"
        )


async def test_parts_of_a_hand_that_it_does_not_have(driver: Docker) -> None:
    plain = spec()
    wanted = [
        replace(plain, grant="g"),
        replace(plain, resources=({"type": "file"},)),
        replace(plain, environment={"packages": {"pip": ["x"]}}),
    ]
    for one in wanted:
        with pytest.raises(UnsupportedHand):
            await driver.create(one)

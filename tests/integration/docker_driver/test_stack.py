"""The whole system on the driver `docker`, as a user starts it and a program of the official SDK uses it."""

from pathlib import Path

import docker
import pytest

from tests.integration.docker_driver.conftest import MakeSettings
from tests.support.conversation import Conversation, results, text
from tests.support.egress import ADDRESS, echo_server
from tests.support.eventually import eventually
from tests.support.invariants import check_invariants
from tests.support.model import bash, call, say
from tests.support.stack import stack


async def test_an_agent_works_in_containers_and_loses_only_what_ran_in_them(
    settings: MakeSettings, tmp_path: Path, engine: docker.APIClient
) -> None:
    environ = {
        "HOLDFAST_DRIVER": "auto", "HOLDFAST_DOCKER_SOCKET": settings().docker_socket, "HOLDFAST_EGRESS_HOSTS": ADDRESS
    }  # fmt: skip
    with stack(tmp_path, environ=environ, harnesses=1) as running:
        async with echo_server() as server, running.client() as client:
            conversation = await Conversation.begin(client)
            steps = [
                call("write", file_path="a.txt", content="one\n"),
                bash("cd /tmp && export WORD=kept && cat /workspace/a.txt"),
                bash(f'pwd; echo "$WORD"; hostname; curl -s http://{ADDRESS}:{server.port}'),
            ]
            await conversation.say(await running.model.play(*steps, say("Done.")))
            found = [text(result) for result in results(await conversation.until_idle()).values()]
            assert found[1:] == ["one\n", "/tmp\nkept\nsandbox\nhello"]

            (container,) = engine.containers(filters={"label": "holdfast.generation"})
            engine.kill(container["Id"])

            async def is_noticed() -> bool:
                return not engine.containers(all=True, filters={"id": container["Id"]})

            await eventually(is_noticed, within=15, what="the worker removes the container that was killed")
            await conversation.say(await running.model.play(bash('cat a.txt; echo "[$WORD]"'), say("Still there.")))
            events = await conversation.until_idle()
            assert "one\n[]\n" in text(list(results(events).values())[-1])
            await check_invariants(running, conversation)
            await client.beta.sessions.delete(conversation.id)
            workspace = running.run.workspace(conversation.id)

            async def is_gone() -> bool:
                return not workspace.exists() and not engine.containers(filters={"label": "holdfast.generation"})

            await eventually(is_gone, within=15, what="container and workspace of a deleted session")


def test_the_start_without_an_engine_ends_and_says_what_is_missing(settings: MakeSettings, tmp_path: Path) -> None:
    environ = {"HOLDFAST_DRIVER": "docker", "HOLDFAST_DOCKER_SOCKET": str(tmp_path / "none.sock")}
    with pytest.raises(RuntimeError) as refused, stack(tmp_path, environ=environ, harnesses=1):
        pass
    assert "✗ sandbox: There is no Docker engine on this machine" in str(refused.value)
    assert "export HOLDFAST_DRIVER=bubblewrap" in str(refused.value)

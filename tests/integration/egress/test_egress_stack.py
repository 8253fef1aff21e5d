"""The whole system with a network, as a user starts it and a program of the official SDK uses it."""

from pathlib import Path
from typing import Any

from holdfast.bus.ids import new_id
from tests.support.conversation import MODEL, TOOLSET, Conversation, results, text
from tests.support.egress import ADDRESS, echo_server
from tests.support.invariants import check_invariants
from tests.support.model import bash, say
from tests.support.stack import stack

FETCH = """python3 - <<'EOF'
import urllib.request
for url in ("http://{address}:{port}/", "https://pypi.org/"):
    try: print(urllib.request.urlopen(url, timeout=10).read().decode())
    except OSError as exc: print(exc)
EOF
"""


async def test_an_agent_reaches_what_its_environment_allows(tmp_path: Path) -> None:
    environ = {"HOLDFAST_EGRESS_HOSTS": ADDRESS}
    with stack(tmp_path, environ=environ, harnesses=1) as running:
        async with echo_server() as server, running.client() as client:
            networking: Any = {"type": "limited", "allowed_hosts": [ADDRESS]}
            environment = await client.beta.environments.create(
                name=new_id("test"), config={"type": "cloud", "networking": networking}
            )
            tools: Any = [TOOLSET]
            agent = await client.beta.agents.create(model=MODEL, name="reaches", tools=tools)
            session = await client.beta.sessions.create(agent=agent.id, environment_id=environment.id)
            conversation = Conversation(client, session.id)
            command = bash(FETCH.format(address=ADDRESS, port=server.port))
            mark = await running.model.play(command, say("Done."))
            await conversation.say(mark)
            (found,) = [text(result) for result in results(await conversation.until_idle()).values()]
            assert found.startswith("hello\n")
            assert "403 Forbidden: pypi.org is not among the hosts that the environment of this session allows" in found
            assert [seen.headers["host"] for seen in server.requests] == [f"{ADDRESS}:{server.port}"]
            told = (await running.model.requests(mark))[0].body["system"][0]["text"]
            assert f"reaches {ADDRESS} by an HTTP proxy alone" in told
            await check_invariants(running, conversation)
        log = "".join(path.read_text() for path in (running.data / "logs").glob("sandbox*"))
        assert "pypi.org:443" in log
        assert "egress refused" in log

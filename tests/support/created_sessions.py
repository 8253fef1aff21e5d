"""Sessions made by the official SDK, for tests that write the logs themselves."""

from holdfast.bus.ids import new_id
from tests.support.edge import SessionService

MIB = 1024 * 1024


def create_session(edge: SessionService, title: str = "") -> str:
    """A new session; returns its id."""
    with edge.client() as client:
        agent = client.beta.agents.create(model="m", name=new_id("a")).id
        environment = client.beta.environments.create(name=new_id("e")).id
        return client.beta.sessions.create(agent=agent, environment_id=environment, title=title or None).id

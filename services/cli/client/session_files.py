"""The files of a session for `holdfast diff` and `holdfast apply`."""

from holdfast.cli.client.files.base import Base
from holdfast.cli.client.files.changes import CannotCompare
from holdfast.cli.client.session_ids import resolve
from holdfast.cli.client.target import Target


async def session_base(target: Target, session: str) -> tuple[str, Base]:
    """The status of a session and its base. Raises UnknownSession, CannotCompare."""
    if target.local is None:
        raise CannotCompare("the files of a session can be reached only with a stack on this machine (--data)")
    async with target.client() as client:
        found = await client.beta.sessions.retrieve(await resolve(client, session))
    return found.status, Base(target.local, found.id)

"""Short forms of session ids, as git and docker have them: people read and type the end of an id."""

import re
from typing import Final

from anthropic import AsyncAnthropic, NotFoundError

from holdfast.cli.client.errors import CannotDo

SHORT_CHARS: Final = 8
"""Characters of the short form: 40 bits of the random part. The chance that any two of ten thousand sessions share a
form is 1 in 20,000."""

MIN_CHARS: Final = 4
"""Fewest characters that `resolve` accepts."""

NAMED_SESSIONS: Final = 10
"""Sessions that the error of an ambiguous text names."""

_FULL: Final = re.compile(r"sesn_[a-z0-9]+_[0-9a-z]{26}")


class UnknownSession(CannotDo):
    """The text names no session, or more than one; the message says which."""


def short(id: str) -> str:  # noqa: A002  the field is called id
    """The short form of a session id: its last characters, because its front is the time of creation."""
    return id[-SHORT_CHARS:]


def is_full(text: str) -> bool:
    """Whether `text` has the form of a full session id."""
    return _FULL.fullmatch(text) is not None


def matches(text: str, id: str) -> bool:  # noqa: A002  the field is called id
    """Whether `text` is the end or the beginning of that id, with or without its prefix `sesn_<cell>_`."""
    return id.endswith(text) or id.startswith(text) or id.rpartition("_")[2].startswith(text)


async def resolve(client: AsyncAnthropic, text: str) -> str:
    """The full id of the session that `text` names: a full id, or the end or the beginning of one.

    Archived sessions are found too. A complete short form is searched for from the newest session on, and the first
    match is returned. A shorter text must be unique among all sessions.

    Raises UnknownSession, and the errors of the SDK when the API does not answer.
    """
    wanted = text.strip().lower()
    if is_full(wanted):
        try:
            return (await client.beta.sessions.retrieve(wanted)).id
        except NotFoundError:
            raise UnknownSession(_none(text)) from None
    if len(wanted) < MIN_CHARS:
        raise UnknownSession(f"{text!r} is too short for a session id: give at least {MIN_CHARS} characters.")
    found: list[str] = []
    async for session in client.beta.sessions.list(limit=100, include_archived=True):
        if not matches(wanted, session.id):
            continue
        found.append(session.id)
        if short(session.id) == wanted or len(found) > NAMED_SESSIONS:
            break
    if not found:
        raise UnknownSession(_none(text))
    if len(found) > 1 and short(found[-1]) != wanted:
        named = "\n".join(f"  {id_}" for id_ in found[:NAMED_SESSIONS])
        more = "\n  …" if len(found) > NAMED_SESSIONS else ""
        raise UnknownSession(f"{text!r} names several sessions; give more of the id:\n{named}{more}")
    return found[-1]


def _none(text: str) -> str:
    return f"there is no session {text!r}. List them with: holdfast sessions --all"

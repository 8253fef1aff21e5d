"""Accounts of nats-server with their users, as the text of its configuration. Pure.

An account is a space of subjects of its own. What its users ask of another account is imported as a service, and what
they hear from one as a stream. JetStream sends its answer to whatever reply subject a request names, also where the
user that asked may not publish. If the request was imported, then that subject is one of the account that asked. So
such an answer reaches its own account only, and what that account imports, where its users may publish anyway.
"""

from collections.abc import Iterable, Sequence
from typing import Final, Literal

import msgspec

HOLDFAST: Final = "HOLDFAST"
"""The account that has the streams, and the users that are trusted with all of them."""

STATE_OF_ACCOUNT: Final = "$SYS.REQ.ACCOUNT.PING.STATZ"
"""Asks the server for the counters of the account of the user that asks. Permissions of before allow it admin alone."""

_JETSTREAM_INFO: Final = "$JS.API.INFO"


class User(msgspec.Struct, frozen=True):
    """A user and its permissions. `publish` None: it only answers; `answers`: for how long it may answer a request."""

    name: str
    comment: str
    publish: Sequence[str] | None
    subscribe: Sequence[str] = ()
    answers: str = ""


class Import(msgspec.Struct, frozen=True):
    """What an account takes from another one: a service that it asks, or a stream of messages that it hears.

    `answer_within`: how long the way back is kept for the answer of a service, or for the next one; empty: two minutes,
    the server's own limit. A fetch that waits longer for its first message has to ask for heartbeats.
    """

    account: str
    subject: str
    kind: Literal["service", "stream"] = "service"
    answer_within: str = ""


class Account(msgspec.Struct, frozen=True):
    name: str
    comment: str
    users: Sequence[User]
    imports: Sequence[Import] = ()


def password_variable(user: str) -> str:
    """The variable that nats-server reads for the password of the user."""
    return f"HOLDFAST_NATS_{user.upper()}_PASSWORD"


def services(subjects: Iterable[str], *, of: str = HOLDFAST, last_after: str = "") -> list[Import]:
    """Imports of services of that account. `last_after`: `answer_within` of those that have several answers. Nothing
    tells the server which is the last one, so that it keeps the way back, in memory, until this time has passed.

    An account without streams that does not import _JETSTREAM_INFO has an API of JetStream of its own, which would
    answer the same request first: that there are no streams. No user needs a permission for it.
    """
    asked = list(subjects)
    if any(subject.startswith("$JS.API.") for subject in asked):
        asked.append(_JETSTREAM_INFO)
    return [Import(of, one, answer_within=last_after if has_several_answers(one) else "") for one in asked]


def streams(subjects: Iterable[str], *, of: str = HOLDFAST) -> list[Import]:
    """Imports of streams of messages of that account."""
    return [Import(of, subject, "stream") for subject in subjects]


def has_several_answers(subject: str) -> bool:
    """Whether a request on the subject may have several answers: a pull, or a read of a batch of messages."""
    tokens = subject.split(".")
    return subject.startswith("$JS.API.CONSUMER.MSG.NEXT.") or (
        subject.startswith("$JS.API.DIRECT.GET.") and len(tokens) == len(["$JS", "API", "DIRECT", "GET", "stream"])
    )


def render(accounts: Sequence[Account]) -> str:
    """The block `accounts` of the configuration. An account exports exactly what the others import from it."""
    importers: dict[Import, list[str]] = {}
    for account in accounts:
        for one in account.imports:
            importers.setdefault(one, []).append(account.name)
    blocks = [
        _account(account, {one: names for one, names in importers.items() if one.account == account.name})
        for account in accounts
    ]
    return "accounts {\n" + "\n".join(blocks) + "}\n"


def _account(account: Account, exported: dict[Import, list[str]]) -> str:
    lines = [f"  # {line}" for line in account.comment.splitlines()]
    lines.append(f"  {account.name} {{")
    if account.name == HOLDFAST:
        lines.append("    jetstream: enabled")
    if account.imports:
        lines += ["    imports: [", *map(_import, account.imports), "    ]"]
    if exported:
        lines += ["    exports: [", *(_export(one, names) for one, names in exported.items()), "    ]"]
    users = "\n".join(_user(user) for user in account.users)
    return "\n".join([*lines, "    users: [", users + "    ]", "  }", ""])


def _import(one: Import) -> str:
    return f'      {{ {one.kind}: {{ account: {one.account}, subject: "{one.subject}" }} }}'


def _export(one: Import, importers: Sequence[str]) -> str:
    several = one.kind == "service" and has_several_answers(one.subject)
    answers = ', response_type: "stream"' if several else ""
    if one.answer_within:
        answers += f', response_threshold: "{one.answer_within}"'
    return f'      {{ {one.kind}: "{one.subject}"{answers}, accounts: [{", ".join(importers)}] }}'


def _user(user: User) -> str:
    lines = [f"      # {line}" for line in user.comment.splitlines()]
    lines.append(f"      {{ user: {user.name}, password: ${password_variable(user.name)}, permissions: {{")
    publish = user.publish
    lines += ['          publish: { deny: [">"] }'] if publish is None else _subjects("publish", publish)
    lines += _subjects("subscribe", [f"_INBOX_{user.name}.>", *user.subscribe])
    if user.answers:
        lines.append(f'          allow_responses: {{ max: 1, expires: "{user.answers}" }}')
    lines.append("      } }\n")
    return "\n".join(lines)


def _subjects(what: str, subjects: Sequence[str]) -> list[str]:
    if len(subjects) == 1:
        return [f'          {what}: ["{subjects[0]}"]']
    return [f"          {what}: [", *(f'            "{subject}"' for subject in subjects), "          ]"]

"""`/v1/audit_records`, an extension: administrative acts, the newest first."""

from typing import Literal

import msgspec

from holdfast.session.audit.log import AuditEntry, AuditLog
from holdfast.session.http import pagination, timestamps
from holdfast.session.http.pagination import Page, PageQuery
from holdfast.session.http.routing import Call, Route
from holdfast.session.http.timestamps import TimeText


class AuditRecordObject(msgspec.Struct, frozen=True, kw_only=True):
    """One act: `api_key_id` did `action` to `object_id`. `details` has what was asked for, without secrets."""

    id: str
    type: Literal["audit_record"]
    created_at: TimeText
    action: str
    object_id: str
    api_key_id: str
    api_key_name: str
    request_id: str
    details: dict[str, str]


def to_api(entry: AuditEntry) -> AuditRecordObject:
    """The object that clients see."""
    return AuditRecordObject(
        id=entry.id,
        type="audit_record",
        created_at=timestamps.text(entry.at),
        action=entry.action,
        object_id=entry.object,
        api_key_id=entry.key_id,
        api_key_name=entry.key_name,
        request_id=entry.request_id,
        details=entry.details,
    )


class AuditHandlers:
    def __init__(self, log: AuditLog) -> None:
        self._log = log

    async def list_records(self, call: Call) -> Page[AuditRecordObject]:
        """List administrative acts of all tenants, newest first. For admin keys."""
        query: PageQuery = call.query
        bound = ["audit"]
        below = pagination.position_of(query, bound, str)
        found, rest = await self._log.newest(below=below, limit=query.limit)
        return pagination.page([to_api(entry) for entry in found], rest, bound)


def routes(log: AuditLog) -> list[Route]:
    path, page = "/v1/audit_records", Page[AuditRecordObject]
    handler = AuditHandlers(log).list_records
    return [Route(method="GET", path=path, handle=handler, query=PageQuery, answer=page, access="administer")]

"""Whether there is room for what is being uploaded: limits of the tenant, of this process and of the disk."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Final

import msgspec

from holdfast.session.http.errors import quota_exceeded, storage_full, too_large, too_many_uploads

FORM_BYTES: Final = 64 * 1024
"""Bytes of a form beside those of its file."""


class UploadLimits(msgspec.Struct, frozen=True, kw_only=True):
    """`file_bytes` of one file; `tenant_files` and `tenant_bytes` of all files of a tenant; `uploads` at once in this
    process."""

    file_bytes: int
    tenant_files: int
    tenant_bytes: int
    uploads: int


class Usage(msgspec.Struct, frozen=True):
    """What a tenant has: files, and their bytes together."""

    files: int = 0
    size_bytes: int = 0


class Reservation:
    """The room that one upload takes; it grows with what comes."""

    def __init__(self, room: "UploadRoom", tenant: str) -> None:
        self._room = room
        self._tenant = tenant
        self.size = 0

    def grow(self, size: int) -> None:
        """Take room for that many more bytes. Raises ApiError 400, 413 and 507."""
        self._room.check(self._tenant, self.size + size, more=size)
        self.size += size
        self._room.reserve(self._tenant, size)


class UploadRoom:
    """The usage of a tenant is what this process knows of: two that fill the last room through two processes at the
    same moment may both succeed.

    `free` tells the bytes that files may still take on the disk of NATS, None if it is not known.
    """

    def __init__(self, limits: UploadLimits, usage: Callable[[str], Usage], free: Callable[[], int | None]) -> None:
        self._limits = limits
        self._usage = usage
        self._free = free
        self._reserved: dict[str, list[int]] = {}
        """By tenant, uploads in progress and their bytes so far."""
        self._open = 0

    @property
    def body_bytes(self) -> int:
        """Largest body of a request."""
        return self._limits.file_bytes + FORM_BYTES

    @contextmanager
    def upload(self, tenant: str, declared: int | None) -> Generator[Reservation]:
        """Room for one upload as long as the block lasts; `declared`: the size of the body, if the client has told it.

        Raises ApiError 400, 413, 429 and 507.
        """
        if self._open >= self._limits.uploads:
            raise too_many_uploads(self._limits.uploads)
        at_least = max(0, (declared or 0) - FORM_BYTES)
        self.check(tenant, at_least, more=at_least, begins=True)
        reservation = Reservation(self, tenant)
        reserved = self._reserved.setdefault(tenant, [0, 0])
        reserved[0] += 1
        self._open += 1
        try:
            yield reservation
        finally:
            self._open -= 1
            reserved[0] -= 1
            reserved[1] -= reservation.size
            if not reserved[0]:
                del self._reserved[tenant]

    def check(self, tenant: str, size: int, *, more: int, begins: bool = False) -> None:
        """Raise ApiError if an upload of `size` bytes so far, `more` of which are new, has no room."""
        limits = self._limits
        if size > limits.file_bytes:
            raise too_large(limits.file_bytes)
        usage, (open_files, open_bytes) = self._usage(tenant), self._reserved.get(tenant, (0, 0))
        if usage.files + open_files + begins > limits.tenant_files:
            raise quota_exceeded(f"this tenant has {usage.files} files, and {limits.tenant_files} are allowed")
        if usage.size_bytes + open_bytes + more > limits.tenant_bytes:
            raise quota_exceeded(f"the files of this tenant may have {limits.tenant_bytes} bytes together")
        free = self._free()
        if free is not None and more > free:
            raise storage_full("the disk of this stack has no room for the file")

    def reserve(self, tenant: str, size: int) -> None:
        """Count what was checked."""
        self._reserved[tenant][1] += size

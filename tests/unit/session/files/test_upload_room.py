"""The limits of uploads: of one file, of a tenant, of this process, of the disk."""

import pytest

from holdfast.session.files.upload_room import FORM_BYTES, UploadLimits, UploadRoom, Usage
from holdfast.session.http.errors import ApiError

LIMITS = UploadLimits(file_bytes=100, tenant_files=3, tenant_bytes=150, uploads=2)


def room(*, used: Usage = Usage(), free: int | None = None) -> UploadRoom:  # noqa: B008  frozen
    return UploadRoom(LIMITS, lambda tenant: used if tenant == "t" else Usage(), lambda: free)


def status_of(error: pytest.ExceptionInfo[ApiError]) -> tuple[int, str]:
    return error.value.status, (error.value.details or {}).get("error_code", "")


def test_what_grows_over_the_limit_of_a_file_is_refused() -> None:
    with room().upload("t", None) as reservation:
        reservation.grow(100)
        with pytest.raises(ApiError) as refused:
            reservation.grow(1)
    assert status_of(refused) == (413, "request_body_too_large")


@pytest.mark.parametrize(("declared", "refusal"), [(FORM_BYTES + 100, None), (FORM_BYTES + 101, 413), (10**12, 413)])
def test_what_is_declared_too_large_is_refused_before_it_is_read(declared: int, refusal: int | None) -> None:
    if refusal is None:
        with room().upload("t", declared):
            return
    with pytest.raises(ApiError) as refused, room().upload("t", declared):
        pass
    assert refused.value.status == refusal


def test_uploads_of_a_tenant_count_while_they_run_and_no_longer() -> None:
    shared = room(used=Usage(1, 60))
    with shared.upload("t", None) as first:
        first.grow(50)
        with shared.upload("t", None) as second:
            with pytest.raises(ApiError) as refused:
                second.grow(41)
            assert status_of(refused) == (400, "storage_quota_exceeded")
            second.grow(40)
    with shared.upload("other", None) as other, shared.upload("t", None) as again:
        other.grow(100)
        again.grow(90)


def test_the_number_of_files_counts_those_that_are_being_uploaded() -> None:
    shared = room(used=Usage(2, 0))
    with shared.upload("t", None) as last:
        last.grow(1)
        with pytest.raises(ApiError) as refused, shared.upload("t", None):
            pass
        assert status_of(refused) == (400, "storage_quota_exceeded")
    with shared.upload("t", None):
        pass


def test_this_process_takes_so_many_at_once() -> None:
    shared = room()
    with shared.upload("t", None), shared.upload("other", None):
        with pytest.raises(ApiError) as refused, shared.upload("third", None):
            pass
        assert refused.value.status == 429
    with shared.upload("third", None):
        pass


def test_the_disk_keeps_its_reserve() -> None:
    with room(free=50).upload("t", None) as reservation:
        with pytest.raises(ApiError) as refused:
            reservation.grow(51)
        assert refused.value.status == 507
        reservation.grow(50)
    with pytest.raises(ApiError) as refused, room(free=50).upload("t", FORM_BYTES + 51):
        pass
    assert refused.value.status == 507

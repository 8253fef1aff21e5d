"""Files through the official SDK: upload, list, metadata, download, delete, expiry, limits of names and queries."""

import hashlib
import io
from datetime import timedelta
from pathlib import Path
from typing import Any

import anthropic
import httpx
import pytest

from holdfast.session.files.records import CHUNK_BYTES
from tests.support.api_keys import make_key, with_key
from tests.support.edge import SessionService, envelope


def test_from_upload_to_delete(files: Any) -> None:
    made = files.upload(file=("notes.txt", b"hello", "text/plain"))
    assert made.id.startswith("file_")
    assert (made.type, made.filename, made.mime_type, made.size_bytes) == ("file", "notes.txt", "text/plain", 5)
    assert (made.downloadable, made.expires_at, made.scope) == (True, None, None)
    assert files.retrieve_metadata(made.id) == made
    got = files.download(made.id)
    assert got.read() == b"hello"
    assert got.headers["content-type"] == "text/plain"
    assert got.headers["content-disposition"].startswith('attachment; filename="notes.txt"')
    assert got.headers["x-content-type-options"] == "nosniff"
    deleted = files.delete(made.id)
    assert (deleted.id, deleted.type) == (made.id, "file_deleted")
    for call in (files.retrieve_metadata, files.download, files.delete):
        with pytest.raises(anthropic.NotFoundError):
            call(made.id)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, 3 * CHUNK_BYTES + 17])
def test_the_bytes_come_back_as_they_were(files: Any, tmp_path: Path, size: int) -> None:
    data = hashlib.shake_128(str(size).encode()).digest(size)
    path = tmp_path / "data.bin"
    path.write_bytes(data)
    for file in (path, io.BytesIO(data), ("data.bin", data)):
        made = files.upload(file=file)
        assert made.size_bytes == size
        assert files.download(made.id).read() == data


async def test_the_async_client_streams_both_ways(edge: SessionService) -> None:
    data = b"0123456789abcdef" * 200_000
    async with edge.async_client(max_retries=0) as client:
        made = await client.beta.files.upload(file=("a.bin", data))
        async with client.beta.files.with_streaming_response.download(made.id) as answer:
            assert answer.headers["content-length"] == str(len(data))
            assert b"".join([part async for part in answer.iter_bytes()]) == data


@pytest.mark.parametrize(
    ("given", "name", "media_type"),
    [
        ("../../etc/passwd.txt", "passwd.txt", "text/plain"),
        ("C:\\temp\\a b.pdf", "a b.pdf", "application/pdf"),
        ('quoted "name" ä.png', 'quoted "name" ä.png', "image/png"),
        ("noextension", "noextension", "application/octet-stream"),
    ],
)
def test_only_the_last_component_of_a_name_is_kept(files: Any, given: str, name: str, media_type: str) -> None:
    made = files.upload(file=(given, b"x"))
    assert (made.filename, made.mime_type) == (name, media_type)
    assert files.download(made.id).read() == b"x"


def test_a_file_without_a_name(http: httpx.Client) -> None:
    for disposition in ('name="file"; filename=""', 'name="file"'):
        body = f"--b\r\nContent-Disposition: form-data; {disposition}\r\nContent-Type: text/csv\r\n\r\n1,2\r\n--b--\r\n"
        answer = http.post("/v1/files", content=body, headers={"content-type": "multipart/form-data; boundary=b"})
        assert answer.status_code == 200, answer.text
        assert (answer.json()["filename"], answer.json()["mime_type"]) == ("unnamed.csv", "text/csv")


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ([], "file: missing"),
        ([("expires_in_seconds", (None, "3600"))], "file: missing"),
        ([("file", ("a\n", b"x"))], "file: the filename must not contain control characters"),
        ([("file", ("..", b"x"))], "is no name of a file"),
        ([("file", ("x" * 300, b"x"))], "longer than 255 bytes"),
        ([("file", ("a", b"x")), ("file", ("b", b"y"))], "file: given more than once"),
        ([("other", ("a", b"x"))], "other: only `file` may be a file"),
        ([("file", ("a", b"x")), ("purpose", (None, "agent"))], "purpose"),
        ([("file", ("a", b"x")), ("expires_in_seconds", (None, "3599"))], "expires_in_seconds"),
        ([("file", ("a", b"x")), ("expires_in_seconds", (None, "7776001"))], "expires_in_seconds"),
        ([("file", ("a", b"x")), ("expires_in_seconds", (None, "soon"))], "expires_in_seconds"),
        ([("file", ("a", b"x")), ("expires_in_seconds", (None, "9" * 2000))], "expires_in_seconds: longer than"),
        ([("expires_in_seconds", (None, "3600")), ("expires_in_seconds", (None, "3600")), ("file", ("a", b"x"))],
         "expires_in_seconds: given more than once"),
    ],
)  # fmt: skip
def test_what_is_refused_stores_nothing(edge: SessionService, http: httpx.Client, parts: Any, said: str) -> None:
    before = edge.last_sequences()
    answer = (
        http.post("/v1/files", files=parts)
        if parts
        else http.post("/v1/files", content=b"--b--\r\n", headers={"content-type": "multipart/form-data; boundary=b"})
    )
    assert said in envelope(answer, 400, "invalid_request_error")
    assert edge.last_sequences() == before


@pytest.mark.parametrize("content_type", ["", "application/json", "multipart/form-data", "text/plain"])
def test_a_body_that_is_no_form_is_refused(http: httpx.Client, content_type: str) -> None:
    answer = http.post("/v1/files", content=b"{}", headers={"content-type": content_type})
    assert "multipart/form-data" in envelope(answer, 400, "invalid_request_error")


def test_lists_are_pages_newest_first(edge: SessionService) -> None:
    tenant = with_key(edge, make_key(edge, "tenant", tenant="pages")["key"])
    with tenant as http:
        made = [http.post("/v1/files", files={"file": (f"{n}", b"x")}).json()["id"] for n in range(5)]
        first = http.get("/v1/files", params={"limit": 2}).json()
        assert [one["id"] for one in first["data"]] == [made[4], made[3]]
        second = http.get("/v1/files", params={"limit": 3, "page": first["next_page"]}).json()
        assert ([one["id"] for one in second["data"]], second["next_page"]) == ([made[2], made[1], made[0]], None)
        assert http.get("/v1/files", params={"scope_id": "sesn_a0_x"}).json() == {"data": [], "next_page": None}
        some = http.get("/v1/files", params={"ids[]": [made[1], "file_gone", made[3], made[1]]}).json()
        assert [one["id"] for one in some["data"]] == [made[3], made[1]]
        for query in ("limit=0", "limit=1001", "ids[]=a&limit=1", f"ids[]=a&page={first['next_page']}", "page=page_x",
                      f"scope_id=x&page={first['next_page']}", "after_id=x",
                      "&".join(f"ids[]=file_{n}" for n in range(101))):  # fmt: skip
            envelope(http.get(f"/v1/files?{query}"), 400, "invalid_request_error")
        assert http.get("/v1/files?limit=1000").status_code == 200


def test_the_sdk_pages_through_all(files: Any) -> None:
    made = {files.upload(file=(f"{n}", b"x")).id for n in range(3)}
    assert made <= {one.id for one in files.list(limit=1)}
    assert {one.id for one in files.list(ids=sorted(made))} == made


def test_no_tenant_sees_reads_or_deletes_a_file_of_another(edge: SessionService, files: Any) -> None:
    made = files.upload(file=("secret.txt", b"same bytes"))
    with with_key(edge, make_key(edge, "tenant", tenant="stranger")["key"]) as other:
        theirs = other.post("/v1/files", files={"file": ("b", b"same bytes")}).json()
        assert [one["id"] for one in other.get("/v1/files").json()["data"]] == [theirs["id"]]
        assert other.get("/v1/files", params={"ids[]": [made.id]}).json()["data"] == []
        for path in (f"/v1/files/{made.id}", f"/v1/files/{made.id}/content"):
            envelope(other.get(path), 404, "not_found_error")
        envelope(other.delete(f"/v1/files/{made.id}"), 404, "not_found_error")
        assert other.delete(f"/v1/files/{theirs['id']}").status_code == 200
    assert files.download(made.id).read() == b"same bytes"


def test_a_key_that_reads_downloads_and_a_publisher_does_not(edge: SessionService, files: Any) -> None:
    made = files.upload(file=("a", b"x"))
    with with_key(edge, make_key(edge, "read_only")["key"]) as http:
        assert http.get(f"/v1/files/{made.id}/content").content == b"x"
        envelope(http.post("/v1/files", files={"file": ("a", b"x")}), 403, "permission_error")
        envelope(http.delete(f"/v1/files/{made.id}"), 403, "permission_error")
    with with_key(edge, make_key(edge, "publisher")["key"]) as http:
        envelope(http.get(f"/v1/files/{made.id}/content"), 403, "permission_error")


def test_head_of_a_file_has_its_size_and_no_bytes(http: httpx.Client) -> None:
    made = http.post("/v1/files", files={"file": ("a", b"x" * 100)}).json()
    answer = http.head(f"/v1/files/{made['id']}/content")
    assert (answer.status_code, answer.headers["content-length"], answer.content) == (200, "100", b"")


@pytest.mark.parametrize("file_id", ["file_none", "..", "a.b", "x" * 200])
def test_what_is_no_file_is_not_found(http: httpx.Client, file_id: str) -> None:
    for path in (f"/v1/files/{file_id}", f"/v1/files/{file_id}/content"):
        assert http.get(path).status_code == 404


async def test_an_expired_file_is_told_from_one_that_never_was(edge: SessionService, files: Any) -> None:
    made = files.upload(file=("a", b"x"), expires_in_seconds=3600)
    assert made.expires_at - made.created_at == timedelta(seconds=3600)
    async with edge.bus() as bus:  # its time is moved, not the clock
        entry = await bus.kv.get("files", f"default.{made.id}")
        assert entry
        assert entry.value
        expires_at = int(made.expires_at.timestamp() * 1_000_000)
        older = entry.value.replace(str(expires_at).encode(), str(expires_at - 3_600_000_001).encode())
        assert older != entry.value
        await bus.kv.update("files", f"default.{made.id}", older, entry.revision)
    with pytest.raises(anthropic.NotFoundError) as gone:
        files.download(made.id)
    assert gone.value.body["error"]["details"] == {"error_code": "file_expired"}  # type: ignore[index]
    assert files.retrieve_metadata(made.id).expires_at < made.expires_at
    assert files.delete(made.id).id == made.id

"""Where a file of a session is in its sandbox, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.bus.uploads import UPLOADS
from holdfast.session.http.errors import ApiError
from holdfast.session.resources.mounts import check_apart, mount_path


@pytest.mark.parametrize(
    ("given_path", "expected"),
    [
        (None, "file_1"),
        ("data.csv", "data.csv"),
        ("/data.csv", "data.csv"),
        ("/mnt/session/uploads/data.csv", "data.csv"),
        ("mnt/session/uploads/data.csv", "mnt/session/uploads/data.csv"),
        ("/mnt/session/uploadsx/a", "mnt/session/uploadsx/a"),
        ("/workspace/a//b/./c", "workspace/a/b/c"),
        ("ä b/…", "ä b/…"),
        ("a" * 255, "a" * 255),
        ("...", "..."),
    ],
)
def test_a_path_is_put_below_the_uploads(given_path: str | None, expected: str) -> None:
    assert mount_path(given_path, "file_1", "mount_path") == f"{UPLOADS}/{expected}"


@pytest.mark.parametrize(
    "given_path",
    ["", "/", ".", "./", "..", "a/../b", "/mnt/session/uploads", "/mnt/session/uploads/", "a/", "a\0b", "a\nb",
     "a" * 256, "ä" * 128, "/".join(["a"] * 600)],
)  # fmt: skip
def test_what_names_no_file_below_them_is_refused(given_path: str) -> None:
    with pytest.raises(ApiError, match="mount_path: ") as refused:
        mount_path(given_path, "file_1", "mount_path")
    assert refused.value.status == 400


@given(st.text(alphabet="a./\\\0 ä", max_size=12))
def test_no_path_leaves_the_uploads(text: str) -> None:
    try:
        path = mount_path(text, "file_1", "mount_path")
    except ApiError:
        return
    below = path.removeprefix(f"{UPLOADS}/")
    assert below != path
    assert below
    assert not {"", ".", ".."} & set(below.split("/"))


@pytest.mark.parametrize(
    ("paths", "apart"),
    [
        ([], True),
        (["a", "b", "c/d", "c/e"], True),
        (["a", "ab", "a.b"], True),
        (["a", "a"], False),
        (["a", "a/b"], False),
        (["a/b", "a"], False),
        (["a/b/c", "x", "a/b"], False),
        (["a", "x/y", "a/b/c"], False),
    ],
)
def test_two_files_must_not_overlap(paths: list[str], apart: bool) -> None:
    absolute = [f"{UPLOADS}/{path}" for path in paths]
    if apart:
        check_apart(absolute, "resources")
        return
    with pytest.raises(ApiError, match="overlaps"):
        check_apart(absolute, "resources")

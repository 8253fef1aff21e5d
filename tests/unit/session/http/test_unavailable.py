"""Which paths belong to a part of the API that this version lacks."""

import pytest

from holdfast.session.http.unavailable import part_of


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/v1/files", None),
        ("/v1/skills", "skills"),
        ("/v1/skills/skill_1/versions/1/content", "skills"),
        ("/v1/messages/batches/b/results", "message batches"),
        ("/v1/messages", "direct requests to a model"),
        ("/v1/sessions/sesn_1/threads/sthr_1/stream", "threads"),
        ("/v1/environments/env_1/work", "self-hosted environments"),
        ("/v1/filesystem", None),
        ("/v1/sessions/sesn_1", None),
        ("/v1/sessions/sesn_1/thread", None),
        ("/", None),
        ("/v2/files", None),
    ],
)
def test_which_part_a_path_belongs_to(path: str, name: str | None) -> None:
    assert part_of(path) == name

"""`holdfast files` against a running session service."""

import json
import os
import subprocess
import sys
from pathlib import Path

from tests.support.edge import SessionService


def holdfast(edge: SessionService, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environ = {"PATH": os.environ["PATH"], "HOLDFAST_BASE_URL": edge.base_url, "HOLDFAST_API_KEY": edge.key}
    argv = [sys.executable, "-m", "holdfast.cli", "files", *arguments]
    return subprocess.run(argv, cwd=folder, env=environ, capture_output=True, text=True, timeout=60, check=False)


def test_a_file_goes_up_and_comes_back(edge: SessionService, tmp_path: Path) -> None:
    data = os.urandom(100_000)
    (tmp_path / "data.bin").write_bytes(data)
    up = holdfast(edge, tmp_path, "upload", "data.bin", "--expires-in", "3600", "--json")
    assert up.returncode == 0, up.stderr
    made = json.loads(up.stdout)
    assert (made["filename"], made["size_bytes"]) == ("data.bin", len(data))
    assert made["expires_at"]
    listed = holdfast(edge, tmp_path)
    assert made["id"] in [line.split("\t")[0] for line in listed.stdout.splitlines()]
    refused = holdfast(edge, tmp_path, "download", made["id"])
    assert refused.returncode == 1
    assert "exists already" in refused.stderr
    down = holdfast(edge, tmp_path, "download", made["id"], "--to", "back.bin")
    assert (down.returncode, down.stdout) == (0, "back.bin\n"), down.stderr
    assert (tmp_path / "back.bin").read_bytes() == data
    assert holdfast(edge, tmp_path, "delete", made["id"]).returncode == 0
    gone = holdfast(edge, tmp_path, "download", made["id"], "--to", "again.bin")
    assert (gone.returncode, (tmp_path / "again.bin").exists()) == (1, False)
    assert "404" in gone.stderr


def test_mistakes_are_told_in_a_line(edge: SessionService, tmp_path: Path) -> None:
    for arguments, said in (
        (("upload",), "give the path of a file"),
        (("upload", "none.txt"), "none.txt: No such file"),
        (("upload", "."), "Is a directory"),
        (("download", "file_none"), "404"),
        (("list", "x"), "takes no names"),
        (("delete", "x", "--to", "y"), "--to is for the download"),
    ):
        done = holdfast(edge, tmp_path, *arguments)
        assert done.returncode == 1, done.stderr
        assert said in done.stderr
        assert "Traceback" not in done.stderr

"""The wheel as users install it: by the Python of the system, used in a project that has a `services` of its own."""

import os
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from tests.support.isolation import Isolation

ROOT = Path(__file__).parents[2]
UV = shutil.which("uv", path=f"{ROOT / '.cache' / 'uv' / 'bin'}:{os.environ['PATH']}")
SYSTEM = "/usr/bin/python3"


def run(*command: str | Path, cwd: Path = ROOT, timeout: int = 300, **environ: str) -> str:
    """The output of a command that must end well."""
    done = subprocess.run(
        command, cwd=cwd, env={**os.environ, **environ}, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, timeout=timeout, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{command}\n{done.stdout}"
    return done.stdout


def build(source: Path, folder: Path, kind: str) -> Path:
    """Build a `wheel` or an `sdist`, with the hatchling of the lock file."""
    run(sys.executable, "-m", "hatchling", "build", "-t", kind, "-d", folder, cwd=source)
    (made,) = folder.iterdir()
    return made


def system_python() -> str:
    """The Python of the system if it is new enough, else ours."""
    new_enough = [SYSTEM, "-c", "import sys; sys.exit(sys.version_info < (3, 11))"]
    if Path(SYSTEM).exists() and subprocess.run(new_enough, check=False, capture_output=True).returncode == 0:
        return SYSTEM
    return sys.executable


def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as opened:
        return set(opened.namelist())


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, tmp_path_factory.mktemp("wheel"), "wheel")


@pytest.fixture
def uv() -> str:
    if not UV:
        pytest.skip("uv is not here: `make dev` puts it into .cache/uv")
    return UV


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """The folder of somebody whose own package is called `services`, and who has that folder on PYTHONPATH."""
    (tmp_path / "project" / "services").mkdir(parents=True)
    (tmp_path / "project" / "services" / "__init__.py").write_text("raise RuntimeError('imported the wrong services')")
    return tmp_path / "project"


def test_the_wheel_installs_one_package_and_no_more(wheel: Path) -> None:
    tops = {name.split("/")[0] for name in names(wheel)}
    assert tops == {"holdfast", next(top for top in tops if top.endswith(".dist-info"))}
    with zipfile.ZipFile(wheel) as opened:
        (metadata,) = (name for name in opened.namelist() if name.endswith(".dist-info/METADATA"))
        assert Parser().parsestr(opened.read(metadata).decode())["Name"] == "holdfast-agents"


def test_the_wheel_has_every_file_of_the_package(wheel: Path) -> None:
    ours = (path for path in (ROOT / "services").rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    missing = {"holdfast/" + str(path.relative_to(ROOT / "services")) for path in ours} - names(wheel)
    assert missing == set()
    assert {"holdfast/cli/embedded/permissions.conf", "holdfast/cli/embedded/policy.hcl"} <= names(wheel)


def test_the_sdist_makes_the_same_wheel(wheel: Path, tmp_path: Path) -> None:
    sdist = build(ROOT, tmp_path / "sdist", "sdist")
    (tmp_path / "unpacked").mkdir()
    run("tar", "-xzf", sdist, cwd=tmp_path / "unpacked")  # tarfile has no filter in Python 3.11.2
    (source,) = (tmp_path / "unpacked").iterdir()
    assert names(build(source, tmp_path / "wheel", "wheel")) == names(wheel)
    assert not {".ci", ".cache", ".venv", "holdfast"} & {path.name for path in source.iterdir()}


def install(uv: str, wheel: Path, environment: Path, *extras: str) -> None:
    """The wheel in a new environment of the Python of the system, with the versions of the lock file."""
    options = [word for extra in extras for word in ("--extra", extra)]
    locked = ("sync", "--quiet", "--frozen", "--no-dev", "--no-install-project", "--python", system_python(), *options)
    run(uv, *locked, UV_PROJECT_ENVIRONMENT=str(environment))
    run(uv, "pip", "install", "--quiet", "--no-deps", "--python", environment, wheel)


@pytest.mark.timeout(400)
def test_the_wheel_runs_elsewhere(wheel: Path, uv: str, project: Path, tmp_path: Path, isolation: Isolation) -> None:
    install(uv, wheel, tmp_path / "environment", "embedded")
    holdfast = tmp_path / "environment" / "bin" / "holdfast"
    version = wheel.name.split("-")[1]
    assert version in run(holdfast, "--version", cwd=project, PYTHONPATH=".")
    assert "demo" in run(holdfast, "--help", cwd=project, PYTHONPATH=".")
    demo = run(holdfast, "demo", "--data", tmp_path / "demo", cwd=project, PYTHONPATH=".")
    checks = [line.split()[0] for line in demo.splitlines() if line.startswith(("yes", "NO"))]
    assert checks == ["yes"] * 7, demo


@pytest.mark.timeout(400)
def test_the_plain_wheel_has_the_services_and_names_the_extra_of_the_rest(
    wheel: Path, uv: str, project: Path, tmp_path: Path
) -> None:
    binaries = tmp_path / "environment" / "bin"
    install(uv, wheel, binaries.parent)
    assert not (binaries / "nats-server").exists()
    for command, extra in (("up", "embedded"), ("demo", "embedded"), ("sessions", "cli")):
        done = subprocess.run(
            [binaries / "holdfast", command], cwd=project, capture_output=True, text=True, check=False
        )
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"holdfast {command}: the extra `{extra}` is not installed.")
    for service in ("session", "harness", "sandbox", "vault"):
        done = subprocess.run(
            [binaries / "python", "-m", f"holdfast.{service}"], cwd=project, capture_output=True, text=True,
            env={"PATH": os.environ["PATH"], "HOLDFAST_LOG_LEVL": "info"}, timeout=60, check=False,
        )  # fmt: skip
        (line,) = done.stderr.splitlines()
        assert done.returncode == 2, done.stderr
        assert "HOLDFAST_LOG_LEVL: unknown setting; did you mean HOLDFAST_LOG_LEVEL?" in line


@pytest.mark.timeout(400)
def test_uv_installs_the_wheel_as_a_tool(wheel: Path, uv: str, project: Path, tmp_path: Path) -> None:
    locked = tmp_path / "locked.txt"
    options = ("--frozen", "--no-dev", "--extra", "embedded", "--no-emit-project", "--no-hashes")
    run(uv, "export", "--quiet", *options, "-o", locked)
    folders = {"UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(tmp_path / "bin")}
    what = f"holdfast-agents[embedded] @ {wheel.as_uri()}"
    install = ("tool", "install", "--quiet", "--python", system_python(), "--constraints", locked, what)
    run(uv, *install, UV_SYSTEM_CERTS="1", **folders)  # pyright: ignore[reportArgumentType]  names of variables
    assert sorted(path.name for path in (tmp_path / "bin").iterdir()) == ["holdfast"]
    holdfast = tmp_path / "bin" / "holdfast"
    assert wheel.name.split("-")[1] in run(holdfast, "--version", cwd=project, PYTHONPATH=".")
    assert "--scripted" in run(holdfast, "up", "--help", cwd=project, PYTHONPATH=".")

"""Finds what containers are made from on this host: an engine that isolates, an image, the files of the agent."""

import os
import shutil
from pathlib import Path
from typing import Final

from holdfast.sandbox.drivers.bubblewrap import diagnosis as machine_diagnosis
from holdfast.sandbox.drivers.bubblewrap import seccomp
from holdfast.sandbox.drivers.bubblewrap.host import masked
from holdfast.sandbox.drivers.docker import config, diagnosis
from holdfast.sandbox.drivers.docker.engine import Engine
from holdfast.sandbox.drivers.worker_homes import as_unavailable
from holdfast.sandbox.settings import SandboxSettings
from holdfast.sandbox.threads import in_daemon_thread

AGENT: Final = Path(__file__).parents[2] / "agent"
"""The package that runs inside."""


async def find_layout(
    engine: Engine, settings: SandboxSettings, home: Path, uid: int, gid: int
) -> tuple[str, config.Layout]:
    """Which limits do not hold (see `Driver.weak_limits`), and the layout, with its files written into `home`.

    `uid` and `gid` are those of the processes. Raises SandboxUnavailable, EngineAway and EngineError.
    """
    if (wrong := machine_diagnosis.wrong_machine(machine_diagnosis.look())) is not None:
        raise wrong
    facts, api = await engine.facts()
    if (unsuitable := diagnosis.unsuitable(facts, api, settings.docker_runtime)) is not None:
        raise unsuitable
    weak = diagnosis.weakness(facts)
    if weak and not settings.allow_weak_limits:
        raise diagnosis.weak_limits(weak)
    image = await engine.image(settings.docker_image)
    if image is None:
        raise diagnosis.no_image(settings.docker_image)
    if image.volumes:
        raise diagnosis.volumes(settings.docker_image, tuple(image.volumes))
    with as_unavailable("the files of which sandboxes are made cannot be written"):
        agent = await in_daemon_thread(_write, home, uid, gid)
    return weak, config.Layout(
        image=image.id,
        runtime=settings.docker_runtime,
        uid=uid,
        gid=gid,
        agent=agent,
        etc=home / "etc",
        masked=tuple(f"/proc/{name.rstrip('/')}" for name in masked(Path("/proc"), root=True)),
        seccomp=seccomp.text(),
        processors=tuple(sorted(os.sched_getaffinity(0))),
    )


def _write(home: Path, uid: int, gid: int) -> Path:
    """Write /etc and the agent into `home`, readable by the processes inside. Returns the folder of the agent."""
    (home / "etc").mkdir(exist_ok=True)
    for name, text in config.etc(uid, gid).items():
        file = home / "etc" / name
        file.write_text(text)
        file.chmod(0o644)
    folder = home / "agent"
    if not folder.exists():
        shutil.copytree(AGENT, folder / "agent", ignore=shutil.ignore_patterns("__pycache__"))
        # The first sandbox of the worker compiles it; in all others the folder is read-only.
        for path in (folder, folder / "agent", *(folder / "agent").iterdir()):
            path.chmod(0o755 if path.is_dir() else 0o644)
            if os.geteuid() == 0:
                os.chown(path, uid, gid)
    return folder

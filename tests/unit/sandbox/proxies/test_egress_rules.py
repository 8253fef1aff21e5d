"""Which hosts a sandbox may reach, by name: every spelling of a host is one host, or refused."""

import pytest

from holdfast.sandbox.egress import Egress
from holdfast.sandbox.proxies.egress_rules import Refused, Target, check, host_of, matches, target_of

OPEN = Egress("unrestricted")
LIMITED = Egress("limited", ("api.example.com", "*.Example.org", "10.0.0.1"))


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("API.Example.com", "api.example.com"),
        ("api.example.com.", "api.example.com"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"),
        ("under_score.example", "under_score.example"),
        ("localhost", "localhost"),
        ("93.184.216.34", "93.184.216.34"),
        ("[2606:4700:0:0:0:0:0:1111]", "2606:4700::1111"),
        ("::1", "::1"),
    ],
)
def test_a_host_has_one_spelling(text: str, host: str) -> None:
    assert host_of(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "..", "a..b", ".example.com", "-a.example", "exa mple.com", "a/b", "a@b", "a%2eb", "a\0b", "a\r\nb",
        "bücher.example", "example\u3002com", "\uff45xample.com", "a" * 64 + ".com", "a." * 127 + "com",
        "127.1", "0x7f000001", "0x7f.0.0.1", "2130706433", "0177.0.0.1", "127.0.0.01", "127.0.0.1.", "1.2.3.4.5",
        "[::1", "::1]", "[fe80::1%eth0]", "fe80::1%1", "[::ffff:127.0.0.1", "[example.com]x",
    ],
)  # fmt: skip
def test_what_two_readers_could_take_for_two_hosts_is_refused(text: str) -> None:
    with pytest.raises(Refused) as caught:
        host_of(text)
    assert (caught.value.code, caught.value.status) == ("malformed", 400)


@pytest.mark.parametrize(
    "text", ["a:0", "a:65536", "a:-1", "a:1e3", "a:\uff1443", "a:", "a", "a:4 3", "a:443x", "a:999999999"]
)
def test_a_tunnel_needs_a_port(text: str) -> None:
    with pytest.raises(Refused):
        target_of(text)


def test_targets() -> None:
    assert target_of("A.example:443") == Target("a.example", 443)
    assert target_of("a.example", 80) == Target("a.example", 80)
    assert target_of("a.example:", 80) == Target("a.example", 80)
    assert target_of("[2606:4700::1111]", 80) == Target("2606:4700::1111", 80)
    assert str(target_of("[2606:4700::1111]:443")) == "[2606:4700::1111]:443"


@pytest.mark.parametrize(
    ("host", "is_match"),
    [
        ("api.example.com", True),
        ("x.api.example.com", False),
        ("example.com", False),
        ("notapi.example.com", False),
        ("x.example.org", True),
        ("x.y.example.org", True),
        ("example.org", False),
        ("badexample.org", False),
        ("api.example.com.evil.net", False),
        ("10.0.0.1", True),
    ],
)
def test_a_pattern_is_a_name_or_all_names_below_one(host: str, *, is_match: bool) -> None:
    assert matches(host, LIMITED.hosts) is is_match


def test_a_wildcard_is_for_names() -> None:
    assert not matches("8.1.1.1", ("*.1.1.1",))


def refusal(egress: Egress, target: Target, *, tunnel: bool = True, exempt: frozenset[str] = frozenset()) -> str:
    try:
        check(egress, target, tunnel=tunnel, exempt=exempt)
    except Refused as exc:
        return exc.code if str(exc) and exc.status == 403 else f"{exc.status} {exc}"
    return ""


def test_what_an_environment_lets_through() -> None:
    api = Target("api.example.com", 443)
    assert refusal(Egress(), api) == "no_network"
    assert refusal(OPEN, api) == ""
    assert refusal(LIMITED, api) == ""
    assert refusal(LIMITED, Target("other.example.com", 443)) == "host"
    assert refusal(Egress("limited"), api) == "host"


def test_ports() -> None:
    assert refusal(LIMITED, Target("api.example.com", 22)) == "port"
    assert refusal(LIMITED, Target("api.example.com", 80)) == "port"  # a tunnel there would not be TLS
    assert refusal(LIMITED, Target("api.example.com", 80), tunnel=False) == ""
    assert refusal(LIMITED, Target("api.example.com", 443), tunnel=False) == "port"
    assert refusal(OPEN, Target("api.example.com", 22)) == ""
    assert refusal(OPEN, Target("api.example.com", 25)) == "port"


def test_a_host_of_the_operator_has_any_port_but_must_be_allowed() -> None:
    exempt = frozenset({"api.example.com", "inner.corp"})
    assert refusal(LIMITED, Target("api.example.com", 8443), exempt=exempt) == ""
    assert refusal(LIMITED, Target("inner.corp", 443), exempt=exempt) == "host"
    assert refusal(OPEN, Target("inner.corp", 25), exempt=exempt) == ""

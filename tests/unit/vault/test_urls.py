import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.vault.urls import canonical

SAME = [
    ("https://mcp.example.com/mcp", "https://mcp.example.com/mcp"),
    ("HTTPS://MCP.Example.COM/mcp", "https://mcp.example.com/mcp"),
    ("https://mcp.example.com:443/mcp", "https://mcp.example.com/mcp"),
    ("https://mcp.example.com./mcp", "https://mcp.example.com/mcp"),
    ("https://mcp.example.com/mcp/", "https://mcp.example.com/mcp"),
    ("https://mcp.example.com", "https://mcp.example.com"),
    ("https://mcp.example.com/", "https://mcp.example.com"),
    ("https://bücher.example/mcp", "https://xn--bcher-kva.example/mcp"),
    ("https://mcp.example.com:8443/mcp", "https://mcp.example.com:8443/mcp"),
    ("https://mcp.example.com/Mcp", "https://mcp.example.com/Mcp"),
    ("https://mcp.example.com/mcp?team=a", "https://mcp.example.com/mcp?team=a"),
    ("https://[2001:DB8::1]/mcp", "https://[2001:db8::1]/mcp"),
    ("https://192.0.2.7/mcp", "https://192.0.2.7/mcp"),
]


@pytest.mark.parametrize(("url", "form"), SAME)
def test_spellings_of_one_address_have_one_form(url: str, form: str) -> None:
    assert canonical(url) == form
    assert canonical(form) == form


@pytest.mark.parametrize(
    "url",
    [
        "http://mcp.example.com/mcp",
        "ftp://mcp.example.com",
        "https:/mcp.example.com",
        "//mcp.example.com",
        "mcp.example.com",
        "",
        "https://",
        "https:///mcp",
        "https://mcp.example.com@evil.example/mcp",
        "https://user:pass@mcp.example.com/mcp",
        "https://mcp.example.com\\@evil.example/",
        "https://mcp.example.com/mcp#part",
        "https://mcp.example.com/a/../mcp",
        "https://mcp.example.com/./mcp",
        "https://mcp.example.com/%2e%2e/mcp",
        "https://mcp.example.com/a%2Fb",
        "https://mcp.example.com//mcp",
        "https://mcp.example.com/a b",
        "https://mcp.example.com/a\nb",
        "https://mcp.example.com/\x00",
        "https://mcp.example.com:99999/",
        "https://mcp.example.com:abc/",
        "https://127.1/",
        "https://2130706433/",
        "https://0x7f.0.0.1/",
        "https://0x7f000001/",
        "https://[::1/",
        "https://mcp..example.com/",
        "https://-mcp.example.com/",
        "https://" + "a" * 300 + ".example/",
        "https://mcp.example.com/" + "a" * 3000,
    ],
)
def test_what_two_programs_could_read_differently_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must") as refused:
        canonical(url)
    assert "evil" not in str(refused.value)


def test_plain_http_is_for_this_machine_and_only_when_allowed() -> None:
    for url in ("http://127.0.0.1:9000/mcp", "http://localhost:9000/mcp", "http://[::1]:9000/mcp"):
        assert canonical(url, loopback=True) == url
        with pytest.raises(ValueError, match="https"):
            canonical(url)
    with pytest.raises(ValueError, match="https"):
        canonical("http://example.com/mcp", loopback=True)


@given(st.text(max_size=60))
def test_any_text_has_a_stable_form_or_is_refused(text: str) -> None:
    for url in (text, f"https://{text}", f"https://example.com/{text}"):
        try:
            form = canonical(url)
        except ValueError:
            continue
        assert canonical(form) == form
        assert form.startswith("https://")

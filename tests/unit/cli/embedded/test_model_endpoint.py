"""The address and key of the model. A key is used only with the address of its own pair of variables."""

import pytest

from holdfast.cli.embedded.model_endpoint import BadEndpoint, Endpoint, OwnEndpoint, OwnStack, choose, is_loopback_port

OURS = OwnStack(8700, "hf_ours")


@pytest.mark.parametrize(
    ("environ", "url", "expected"),
    [
        ({}, "", Endpoint(base_url="https://api.anthropic.com")),
        (
            {"ANTHROPIC_API_KEY": "sk", "ANTHROPIC_BASE_URL": "http://proxy:1"},
            "",
            Endpoint(base_url="http://proxy:1", key="sk"),
        ),
        ({"ANTHROPIC_API_KEY": "sk"}, "", Endpoint(base_url="https://api.anthropic.com", key="sk")),
        (
            {"HOLDFAST_MODEL_API_KEY": "own", "ANTHROPIC_API_KEY": "sk", "ANTHROPIC_BASE_URL": "http://proxy:1"},
            "",
            Endpoint(base_url="https://api.anthropic.com", key="own"),
        ),
        (
            {"HOLDFAST_MODEL_BASE_URL": "http://local:1", "ANTHROPIC_API_KEY": "sk"},
            "",
            Endpoint(base_url="http://local:1"),
        ),
        (
            {"HOLDFAST_MODEL_KEY_FILE": "/k", "ANTHROPIC_API_KEY": "sk"},
            "",
            Endpoint(base_url="https://api.anthropic.com", key_file="/k"),
        ),
        ({"ANTHROPIC_API_KEY": "sk"}, "http://local:1", Endpoint(base_url="http://local:1")),
        (
            {"HOLDFAST_MODEL_API_KEY": "k", "HOLDFAST_MODEL_BASE_URL": "http://a"},
            "http://local:1/",
            Endpoint(base_url="http://local:1/", key="k"),
        ),
        # An empty variable is one that is not set.
        (
            {"HOLDFAST_MODEL_API_KEY": " ", "ANTHROPIC_API_KEY": "sk"},
            "",
            Endpoint(base_url="https://api.anthropic.com", key="sk"),
        ),
        # The lines that `up` printed are in the shell, and the model is named with its own variables: that is fine.
        (
            {
                "ANTHROPIC_BASE_URL": "http://127.0.0.1:8700",
                "ANTHROPIC_API_KEY": "hf_ours",
                "HOLDFAST_MODEL_API_KEY": "k",
            },
            "",
            Endpoint(base_url="https://api.anthropic.com", key="k"),
        ),
        # Keys of other services begin with hf_ too.
        (
            {"HOLDFAST_MODEL_BASE_URL": "https://router.test", "HOLDFAST_MODEL_API_KEY": "hf_theirs"},
            "",
            Endpoint(base_url="https://router.test", key="hf_theirs"),
        ),
    ],
)
def test_a_key_goes_to_the_address_of_its_pair(environ: dict[str, str], url: str, expected: Endpoint) -> None:
    assert choose(environ, url=url, own=[OURS]) == expected


@pytest.mark.parametrize(
    ("environ", "url", "said"),
    [
        ({"ANTHROPIC_BASE_URL": "http://localhost:8700/", "ANTHROPIC_API_KEY": "sk"}, "", "ANTHROPIC_BASE_URL is the"),
        ({"ANTHROPIC_BASE_URL": "http://127.0.0.1:8700", "ANTHROPIC_API_KEY": "hf_ours"}, "", "the two lines"),
        ({"ANTHROPIC_API_KEY": "hf_of_a_stack_that_is_gone"}, "", "ANTHROPIC_API_KEY is an API key of Holdfast"),
        ({"ANTHROPIC_BASE_URL": "http://proxy:1", "ANTHROPIC_API_KEY": "hf_ours"}, "", "ANTHROPIC_API_KEY is"),
        ({"HOLDFAST_MODEL_BASE_URL": "http://[::1]:8700"}, "", "HOLDFAST_MODEL_BASE_URL is the address"),
        ({}, "http://127.1:8700", "--model-url is the address"),
        ({"HOLDFAST_MODEL_API_KEY": "hf_ours"}, "http://other:1", "HOLDFAST_MODEL_API_KEY is"),
    ],
)
def test_the_address_of_holdfast_is_refused_as_a_model(environ: dict[str, str], url: str, said: str) -> None:
    with pytest.raises(OwnEndpoint, match="HOLDFAST_MODEL_API_KEY=") as caught:
        choose(environ, url=url, own=[OURS])
    assert said in str(caught.value)
    assert "--scripted" in str(caught.value)
    assert "hf_ours" not in str(caught.value)


@pytest.mark.parametrize("address", ["localhost:8700", "ftp://x", "http://", "http://x:99999", "not an address"])
def test_an_invalid_address_is_refused_and_its_source_is_named(address: str) -> None:
    with pytest.raises(BadEndpoint, match="--model-url must be"):
        choose({}, url=address)
    with pytest.raises(BadEndpoint, match="HOLDFAST_MODEL_BASE_URL must be"):
        choose({"HOLDFAST_MODEL_BASE_URL": address})


def test_a_key_and_a_key_file_exclude_each_other() -> None:
    with pytest.raises(BadEndpoint, match="both set"):
        choose({"HOLDFAST_MODEL_API_KEY": "k", "HOLDFAST_MODEL_KEY_FILE": "/k"})


@pytest.mark.parametrize(
    ("address", "same"),
    [
        ("http://127.0.0.1:8700", True),
        ("http://LOCALHOST.:8700/v1/", True),
        ("http://api.localhost:8700", True),
        ("http://127.8.9.1:8700", True),
        ("http://0.0.0.0:8700", True),
        ("http://[::1]:8700", True),
        ("http://[::ffff:127.0.0.1]:8700", True),
        ("http://2130706433:8700", True),
        ("http://127.0.0.1:8701", False),
        ("http://127.0.0.1", False),
        ("http://192.0.2.1:8700", False),
    ],
)
def test_every_spelling_of_a_loopback_address_is_recognised(address: str, same: bool) -> None:
    assert is_loopback_port(address, 8700) is same

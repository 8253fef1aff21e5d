"""The environment variables that services inherit from `holdfast up`."""

from holdfast.cli.embedded.environment import child_environment, is_cloud, model_environment
from holdfast.harness.models.registry import CLOUDS


def test_services_inherit_no_keys_no_faults_and_no_unknown_variables() -> None:
    environ = {
        "PATH": "/bin",
        "HOME": "/root",
        "ANTHROPIC_API_KEY": "sk-ant-x",
        "ANTHROPIC_BASE_URL": "http://x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "HOLDFAST_API_KEY": "hf_x",
        "HOLDFAST_MODEL_API_KEY": "sk-ant-x",
        "HOLDFAST_MODEL_KEY_FILE": "/k",
        "HOLDFAST_FAULT_HARNESS_1": "x:kill",
        "HOLDFAST_LOG_LEVEL": "debug",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
        "LD_PRELOAD": "x",
    }
    assert child_environment(environ) == {
        "PATH": "/bin",
        "HOLDFAST_LOG_LEVEL": "debug",
        "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318",
    }


def test_the_harnesses_get_the_proxy_and_the_cloud_that_is_chosen() -> None:
    environ = {
        "HTTPS_PROXY": "http://p",
        "no_proxy": "x",
        "HOME": "/root",
        "AWS_REGION": "r",
        "GOOGLE_APPLICATION_CREDENTIALS": "/g",
        "ANTHROPIC_FOUNDRY_API_KEY": "f",
        "ANTHROPIC_API_KEY": "sk-ant-x",
        "LD_PRELOAD": "x",
    }
    proxy = {"HTTPS_PROXY": "http://p", "no_proxy": "x"}
    assert model_environment(environ, is_local=False) == proxy
    assert model_environment(environ, is_local=True) == {}
    chosen = {
        "anthropic": {},
        "messages": {},
        "bedrock": {"HOME": "/root", "AWS_REGION": "r"},
        "vertex": {"HOME": "/root", "GOOGLE_APPLICATION_CREDENTIALS": "/g"},
        "foundry": {"ANTHROPIC_FOUNDRY_API_KEY": "f"},
    }
    for kind, expected in chosen.items():
        assert model_environment({**environ, "HOLDFAST_MODEL": kind}, is_local=False) == {**proxy, **expected}
        assert is_cloud({"HOLDFAST_MODEL": kind}) == (kind in CLOUDS)

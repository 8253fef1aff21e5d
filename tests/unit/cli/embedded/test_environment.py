"""The environment variables that services inherit from `holdfast up`."""

from holdfast.cli.embedded.environment import child_environment


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

"""A Prometheus on loopback that scrapes a stack, and evaluates the alert rules of deploy/grafana."""

import contextlib
import math
import shutil
import subprocess
import time
from collections.abc import Collection, Generator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from holdfast.cli.embedded.ports import free_port

RULES = Path(__file__).parents[2] / "deploy" / "grafana" / "alerts.yaml"
READY_WITHIN_S = 30.0


class Prometheus:
    """A running server. Waiting calls fail the test when nothing comes."""

    def __init__(self, url: str) -> None:
        self._http = httpx.Client(base_url=url, timeout=20, trust_env=False)

    def close(self) -> None:
        self._http.close()

    def get(self, path: str, **query: str) -> Any:
        answer = self._http.get(f"/api/v1/{path}", params=query)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def values(self, expression: str) -> list[tuple[dict[str, str], float]]:
        """Labels and value of each series of the expression now, without those that are no number."""
        result = self.get("query", query=expression)["result"]
        found = [(series["metric"], float(series["value"][1])) for series in result]
        return [(labels, value) for labels, value in found if math.isfinite(value)]

    def until_scraped(self, targets: int, within_s: float = 20.0) -> None:
        """Wait until that many targets were scraped after this call began."""
        began_at = time.time()
        deadline = time.monotonic() + within_s
        while len(self.values(f"timestamp(up) > {began_at}")) < targets:
            assert time.monotonic() < deadline, f"scraped: {self.values('up')}"
            time.sleep(0.1)


@contextlib.contextmanager
def prometheus(folder: Path, addresses: Collection[str]) -> Generator[Prometheus]:
    """Scrape these addresses (`http://host:port`) each half second. Skips where there is no Prometheus."""
    if not shutil.which("prometheus"):
        pytest.skip("needs Prometheus (Debian: prometheus)")
    targets = [{"targets": [address.removeprefix("http://") for address in addresses]}]
    config = folder / "prometheus.yml"
    settings = {
        "global": {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"},
        "rule_files": [str(RULES)],
        "scrape_configs": [{"job_name": "holdfast", "static_configs": targets}],
    }
    config.write_bytes(msgspec.yaml.encode(settings))
    url = f"http://127.0.0.1:{(port := free_port())}"
    argv = ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}"]
    argv += [f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"]
    with (folder / "prometheus.log").open("wb") as log, subprocess.Popen(argv, stdout=log, stderr=log) as process:
        try:
            _until_ready(url, process)
            made = Prometheus(url)
            yield made
            made.close()
        finally:
            process.kill()
            process.wait(10)


def _until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + READY_WITHIN_S
    with httpx.Client(trust_env=False) as http:
        while True:
            with contextlib.suppress(httpx.TransportError):
                if http.get(f"{url}/-/ready").status_code == 200:
                    return
            assert process.poll() is None, "Prometheus has ended"
            assert time.monotonic() < deadline, "Prometheus does not get ready"
            time.sleep(0.05)

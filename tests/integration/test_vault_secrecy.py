"""A token goes in through the official SDK, and is found nowhere but, encrypted, in the secret store."""

import gzip
from base64 import b64encode
from pathlib import Path
from typing import Any

from anthropic import AsyncAnthropic

from tests.support.stack import Stack

TOKEN = "canary-7c1e-through-the-sdk"
SERVER = "https://mcp.linear.app/mcp"


async def test_a_token_leaves_no_trace(shared: Stack, client: AsyncAnthropic) -> None:
    vaults = client.beta.vaults
    vault = await vaults.create(display_name="Anna")
    auth: Any = {"type": "static_bearer", "mcp_server_url": SERVER, "token": TOKEN}
    credential = await vaults.credentials.create(vault.id, auth=auth, display_name="Linear")
    rotated: Any = {"type": "static_bearer", "token": TOKEN + "-2"}
    await vaults.credentials.update(credential.id, vault_id=vault.id, auth=rotated)
    assert TOKEN not in (await vaults.credentials.retrieve(credential.id, vault_id=vault.id)).model_dump_json()

    for place in ("nats", "logs", "session", "sandbox", "bao"):
        assert [file for file in (shared.data / place).rglob("*") if holds(file)] == []
    await vaults.delete(vault.id)


def holds(file: Path) -> bool:
    """Whether the token stands in the file, plainly or as base64 at any offset."""
    if not file.is_file():
        return False
    data = file.read_bytes()
    if file.suffix == ".gz":
        data = gzip.decompress(data)
    inner = [b64encode(b"x" * shift + TOKEN.encode())[4:-4] for shift in range(3)]
    return any(form in data for form in (TOKEN.encode(), *inner))

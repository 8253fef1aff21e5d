"""Publishes a task and waits for the end of its turn: python publish_task.py DATA_FOLDER KIND ID JSON

Needs nats-py.
"""

import asyncio
import json
import sys
from pathlib import Path

import nats


async def publish(url: str, login: dict[str, str], kind: str, name: str, body: str) -> None:
    client = await nats.connect(url, **login, inbox_prefix=b"_INBOX_publisher")
    headers = {"Nats-Msg-Id": name, "Holdfast-Wait": "60"}  # the same id starts nothing twice
    answer = await client.request(f"ask.default.{kind}", body.encode(), timeout=70, headers=headers)
    result = json.loads(answer.data)
    print(result["state"], result["session_id"], result["stop_reason"], result["text"], flush=True)
    await client.close()


run = json.loads(Path(sys.argv[1], "run.json").read_text())
login = json.loads(Path(run["credentials"]["publisher"]).read_text())
asyncio.run(publish(run["nats_url"], login, *sys.argv[2:]))

"""Follows public events: python follow_events.py DATA_FOLDER READER. Needs nats-py."""

import asyncio
import json
import sys
from pathlib import Path

import nats


async def main(data: Path, name: str) -> None:
    run = json.loads((data / "run.json").read_text())
    login = json.loads((data / "secrets" / f"nats-reader_{name}.json").read_text())
    client = await nats.connect(run["nats_url"], **login, inbox_prefix=f"_INBOX_reader_{name}".encode())
    pull = await client.jetstream().pull_subscribe_bind(f"reader_{name}", "PUB_a0")
    while True:
        try:
            events = await pull.fetch(100, timeout=5)
        except TimeoutError:
            continue
        for event in events:
            print(event.headers["ce-type"], event.headers["ce-subject"], event.data.decode(), flush=True)
            await event.ack()


asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))

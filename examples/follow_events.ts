// Follows public events: node follow_events.ts DATA_FOLDER READER
// Node.js 22.18 or later; npm install @nats-io/transport-node @nats-io/jetstream

import { readFileSync } from "node:fs";
import { jetstream } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";

const [data, name] = process.argv.slice(2);
const run = JSON.parse(readFileSync(`${data}/run.json`, "utf8"));
const login = JSON.parse(readFileSync(`${data}/secrets/nats-reader_${name}.json`, "utf8"));
const client = await connect({
  servers: run.nats_url,
  user: login.user,
  pass: login.password,
  inboxPrefix: `_INBOX_reader_${name}`,
});
const consumer = await jetstream(client).consumers.get("PUB_a0", `reader_${name}`);
while (true) {
  for await (const event of await consumer.fetch({ max_messages: 100, expires: 5000 })) {
    console.log(event.headers?.get("ce-type"), event.headers?.get("ce-subject"), event.string());
    event.ack();
  }
}

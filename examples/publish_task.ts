// Publishes a task and waits for the end of its turn: node publish_task.ts DATA_FOLDER KIND ID JSON
// Node.js 22.18 or later; npm install @nats-io/transport-node

import { readFileSync } from "node:fs";
import { connect, headers } from "@nats-io/transport-node";

const [data, kind, name, body] = process.argv.slice(2);
const run = JSON.parse(readFileSync(`${data}/run.json`, "utf8"));
const login = JSON.parse(readFileSync(run.credentials.publisher, "utf8"));
const client = await connect({
  servers: run.nats_url,
  user: login.user,
  pass: login.password,
  inboxPrefix: "_INBOX_publisher",
});
const given = headers();
given.set("Nats-Msg-Id", name); // the same id starts nothing twice
given.set("Holdfast-Wait", "60");
const answer = await client.request(`ask.default.${kind}`, body, { timeout: 70_000, headers: given });
const result = answer.json<{ state: string; session_id: string; stop_reason: string; text: string }>();
console.log(result.state, result.session_id, result.stop_reason, result.text);
await client.close();

// Receives webhooks and prints them: WEBHOOK_SECRET=whsec_… PORT=9000 node webhook_receiver.ts
// Node.js 22.18 or later runs it as it is; it needs no package.

import { createHmac, timingSafeEqual } from "node:crypto";
import { createServer, type IncomingMessage } from "node:http";

interface WebhookEvent {
  type: "event";
  id: string;
  created_at: string;
  data: { type: string; id: string; organization_id: string; workspace_id: string };
}

const key = Buffer.from(process.env.WEBHOOK_SECRET!.replace(/^whsec_/, ""), "base64");
const toleranceSeconds = 300;

function isSigned(request: IncomingMessage, body: string): boolean {
  const id = request.headers["webhook-id"];
  const time = request.headers["webhook-timestamp"];
  const signatures = request.headers["webhook-signature"];
  if (typeof id !== "string" || typeof time !== "string" || typeof signatures !== "string") return false;
  if (!(Math.abs(Date.now() / 1000 - Number(time)) <= toleranceSeconds)) return false;
  const wanted = createHmac("sha256", key).update(`${id}.${time}.${body}`).digest();
  return signatures.split(" ").some((signature) => {
    const [version, value] = signature.split(",");
    const given = Buffer.from(value ?? "", "base64");
    return version === "v1" && given.length === wanted.length && timingSafeEqual(given, wanted);
  });
}

async function read(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk);
  return Buffer.concat(chunks).toString("utf8");
}

createServer(async (request, response) => {
  const body = await read(request);
  if (!isSigned(request, body)) {
    response.writeHead(401).end();
    return;
  }
  const event: WebhookEvent = JSON.parse(body);
  console.log(event.id, event.data.type, event.data.id);
  response.writeHead(204).end();
}).listen(Number(process.env.PORT), "127.0.0.1");

"""Receives webhooks and prints them: WEBHOOK_SECRET=whsec_… PORT=9000 python webhook_receiver.py

Needs `pip install 'anthropic[webhooks]'`.
"""

from http.server import BaseHTTPRequestHandler, HTTPServer
from os import environ

from anthropic import Anthropic

client = Anthropic(api_key="unused", webhook_key=environ["WEBHOOK_SECRET"])


class Hooks(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"])).decode()
        try:
            event = client.beta.webhooks.unwrap(body, headers=dict(self.headers.items()))
        except Exception:
            self.send_error(401)
            return
        print(event.id, event.data.type, event.data.id, flush=True)
        self.send_response(204)
        self.end_headers()


HTTPServer(("127.0.0.1", int(environ["PORT"])), Hooks).serve_forever()

"""A webhook of a test's own."""

import hashlib
import hmac
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.waiting import wait_for


class Receiver:
    """Takes what is posted to it; `answers` are the statuses of the first ones, then 204.

    Attributes:
        posts: header of the signature and body of each, in order, those that were not taken too.
        taken: bodies that were answered with 2xx.
    """

    def __init__(
        self, answers: tuple[int, ...] = (), *, location: str = "", stall: threading.Event | None = None
    ) -> None:
        self.posts: list[tuple[str, bytes]] = []
        self.taken: list[tuple[str, bytes]] = []
        left = list(answers)
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                post = self.headers["Lookalike-Signature"] or "", body
                outer.posts.append(post)
                if stall is not None:
                    stall.wait(30)
                status = left.pop(0) if left else 204
                if 200 <= status < 300:
                    outer.taken.append(post)
                self.send_response(status)
                if location:
                    self.send_header("Location", location)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}/hook?x=1"

    def __enter__(self) -> "Receiver":
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()

    def wait(self, count: int, *, secret: str) -> list[dict[str, Any]]:
        """The different bodies that were taken, once there are so many; all must be signed with this secret."""

        def bodies() -> list[dict[str, Any]] | None:
            found = {json.loads(body)["id"]: json.loads(body) for _, body in list(self.taken)}
            return list(found.values()) if len(found) >= count else None

        found = wait_for(bodies)
        assert all(is_signed(post, secret) for post in self.taken)
        return found


def is_signed(post: tuple[str, bytes], secret: str) -> bool:
    """Whether the signature is what the documentation says, by other code than ours."""
    header, body = post
    parts = dict(part.split("=", 1) for part in header.split(","))
    told = hmac.new(secret.encode(), parts["t"].encode() + b"." + body, hashlib.sha256).hexdigest()
    return hmac.compare_digest(told, parts["v1"])

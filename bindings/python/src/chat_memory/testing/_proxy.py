"""A proxy before DynamoDB Local that counts what requests cost, and loses some of them."""

from __future__ import annotations

import http.client
import json
import random
import threading
from dataclasses import dataclass, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

_READS = ("GetItem", "BatchGetItem", "TransactGetItems", "Query", "Scan")

_HOP_BY_HOP = ("connection", "content-length", "host", "transfer-encoding")


@dataclass(frozen=True, slots=True)
class Usage:
    """What the requests through a proxy took: their number, capacity units as DynamoDB counts them, bytes in both directions."""

    requests: int = 0
    read_units: float = 0.0
    write_units: float = 0.0
    bytes: int = 0

    def __sub__(self, other: Usage) -> Usage:
        return Usage(
            self.requests - other.requests,
            self.read_units - other.read_units,
            self.write_units - other.write_units,
            self.bytes - other.bytes,
        )


class Proxy:
    """Forwards requests to DynamoDB Local, counts them, and loses some: a lost request never arrives, a lost answer never returns.

    It asks DynamoDB for the consumed capacity of each request, whether or not the client does. That changes the request's body, so it works
    only with DynamoDB Local, which checks no signatures.
    """

    def __init__(self, endpoint: str, *, lost_requests: float = 0.0, lost_answers: float = 0.0, seed: int = 1) -> None:
        """Starts the proxy on a free port of this machine.

        Args:
            endpoint: DynamoDB Local's URL.
            lost_requests: The share of requests that are lost.
            lost_answers: The share of answers that are lost.
            seed: What decides which are lost.
        """
        self.usage = Usage()
        self._address = urlsplit(endpoint).netloc
        self._lost_requests, self._lost_answers = lost_requests, lost_answers
        self._random, self._lock = random.Random(seed), threading.Lock()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # An answer is written in two parts; the second would otherwise wait for the first one's acknowledgement.
            disable_nagle_algorithm = True
            upstream: http.client.HTTPConnection | None = None

            def do_POST(self) -> None:
                proxy._handle(self)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        """The proxy's URL: give it to the client as DynamoDB's endpoint."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def close(self) -> None:
        """Stops the proxy."""
        self._server.shutdown()
        self._server.server_close()

    def __enter__(self) -> Proxy:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None) -> None:
        self.close()

    def _happens(self, share: float) -> bool:
        with self._lock:
            return self._random.random() < share

    def _handle(self, handler: Any) -> None:
        body = handler.rfile.read(int(handler.headers["content-length"]))
        operation = handler.headers.get("x-amz-target", "").rpartition(".")[2]
        if self._happens(self._lost_requests):
            handler.close_connection = True
            return
        headers = {name: value for name, value in handler.headers.items() if name.lower() not in _HOP_BY_HOP}
        answer, content = self._forward(handler, handler.path, _with_usage(operation, body), headers)
        self._count(operation, len(body) + len(content), content)
        if self._happens(self._lost_answers):
            handler.close_connection = True
            return
        handler.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in _HOP_BY_HOP:
                handler.send_header(name, value)
        handler.send_header("content-length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def _forward(self, handler: Any, path: str, body: bytes, headers: dict[str, str]) -> tuple[http.client.HTTPResponse, bytes]:
        if handler.upstream is None:
            handler.upstream = http.client.HTTPConnection(self._address)
        handler.upstream.request("POST", path, body, headers)
        answer = handler.upstream.getresponse()
        return answer, answer.read()

    def _count(self, operation: str, size: int, content: bytes) -> None:
        try:
            consumed: Any = json.loads(content).get("ConsumedCapacity")
        except ValueError:
            consumed = None
        many = operation.startswith(("Batch", "Transact"))
        each: list[Any] = [] if not consumed else consumed if many else [consumed]
        units: float = sum(one["CapacityUnits"] for one in each)
        reads = operation in _READS
        with self._lock:
            now = self.usage
            self.usage = replace(
                now,
                requests=now.requests + 1,
                read_units=now.read_units + (units if reads else 0.0),
                write_units=now.write_units + (0.0 if reads else units),
                bytes=now.bytes + size,
            )


def _with_usage(operation: str, body: bytes) -> bytes:
    """Asks for the consumed capacity where the operation has an answer to that."""
    if not operation.endswith(("Item", "Items", "Query", "Scan")):
        return body
    return json.dumps({**json.loads(body), "ReturnConsumedCapacity": "TOTAL"}).encode()

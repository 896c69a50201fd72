"""A small web server for the page: raw pixels in, scores out; no file a visitor sends is ever decoded."""

from __future__ import annotations

import contextlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
from numpy.typing import NDArray

from btnet.evaluation.cosine import unit_normalise
from btnet.images.codec import encode_png
from btnet.images.resize import resize
from btnet.serving.embedding import embed_images
from btnet.serving.recognizer import Recognizer
from btnet.serving.request_queue import QueueFullError, RequestQueue
from btnet.synthetic.faces import SyntheticFaces

__all__ = ["compare_at", "make_server"]

_EXAMPLE_PEOPLE, _EXAMPLE_IMAGES = 50, 4
_MOST_SIZES = 32
_TIMEOUT_SECONDS = 20
_MOST_CONNECTIONS = 128
_RETRY_SECONDS = 1
_REFUSED = (
    f"HTTP/1.0 503 Service Unavailable\r\nRetry-After: {_RETRY_SECONDS}\r\nContent-Type: application/json\r\n\r\n"
    '{"error": "too many connections; try again later"}'
).encode()


def make_server(
    recognizer: Recognizer, *, host: str = "127.0.0.1", port: int = 8000, queue: RequestQueue | None = None
) -> ThreadingHTTPServer:
    """A server that is bound and listens; `serve_forever()` runs it, one thread per request.

    `GET /` is the page, `GET /model` says what it needs to know, `GET /example?face=N` a rendered face, and
    `POST /compare?sizes=14,28` takes two faces as 2 S S 4 bytes of RGBA, the gallery's first. The browser cuts
    and decodes pictures, so a request has one exact length, and any other is refused unread. What finds the queue
    full is answered 503 at once, and so is a connection beyond the 128th.

    Args:
        recognizer: shared by all threads.
        host: address to listen on; the default is reached from this computer only.
        port: 0 for any free one.
        queue: of the requests that ask the recogniser; give the one that other callers of it go through. None for
            one of the server's own, two at work and 30 waiting.

    Raises:
        OSError: if the port is taken.
    """
    size = recognizer.model.canonical_size
    num_bytes = 2 * size * size * 4
    page = files("btnet.page").joinpath("index.html").read_bytes()
    turns = queue or RequestQueue(num_running=2, num_waiting=30)
    examples = SyntheticFaces(_EXAMPLE_PEOPLE, _EXAMPLE_IMAGES, seed=11)

    class Handler(BaseHTTPRequestHandler):
        timeout = _TIMEOUT_SECONDS

        def do_GET(self) -> None:
            url = urlsplit(self.path)
            if url.path == "/":
                self._answer(200, "text/html; charset=utf-8", page)
            elif url.path == "/model":
                self._json(200, {"size": size, "resolutions": recognizer.resolutions})
            elif url.path == "/example":
                face = parse_qs(url.query).get("face", ["0"])[0]
                number = (
                    int(face) % len(examples) if face.isascii() and face.isdecimal() and len(face) < 9 else 0
                )
                self._answer(200, "image/png", encode_png(examples[number][0]))
            else:
                self._json(404, {"error": f"no page {url.path}"})

        def do_POST(self) -> None:
            url = urlsplit(self.path)
            length = self.headers.get("Content-Length", "")
            if url.path != "/compare" or length != str(num_bytes):
                self.close_connection = True
                expected = f"expected POST /compare with {num_bytes} bytes: two faces of {size} x {size} RGBA"
                self._json(
                    413 if length.isdecimal() and int(length) > num_bytes else 400, {"error": expected}
                )
                return
            body = self.rfile.read(num_bytes)
            if len(body) != num_bytes:
                return
            try:
                words = parse_qs(url.query).get("sizes", [""])[0].split(",")[:_MOST_SIZES]
                sizes = [int(word) for word in words]
                faces = np.frombuffer(body, np.uint8).reshape(2, size, size, 4)[..., :3]
                scores = turns.run(lambda: compare_at(recognizer, faces[0], faces[1], sizes))
            except ValueError as error:
                self._json(400, {"error": str(error)})
            except QueueFullError as error:
                self._json(503, {"error": str(error)})
            else:
                self._json(200, scores)

        def _json(self, status: int, content: object) -> None:
            self._answer(status, "application/json", json.dumps(content).encode())

        def _answer(self, status: int, kind: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(content)))
            self.send_header("Cache-Control", "no-store")
            if status == 503:
                self.send_header("Retry-After", str(_RETRY_SECONDS))
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header(
                "Content-Security-Policy",
                "default-src 'self'; img-src 'self' blob: data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'",
            )
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (its name in the base)
            """Requests are not logged: they come with every move of the slider."""

    return _Server((host, port), Handler)


def compare_at(
    recognizer: Recognizer, gallery: NDArray[np.uint8], probe: NDArray[np.uint8], sizes: list[int]
) -> list[dict[str, Any]]:
    """Score one pair with the probe shrunk to several sizes.

    Args:
        recognizer: with trunk and branches.
        gallery: uint8 RGB [S, S, 3], S the canonical size.
        probe: likewise; shrunk by the model's interpolation.
        sizes: in px, 4 to S.

    Returns:
        For each size: `size`, `resolution` of the network chosen, cosine by `branch` (the native path), and by
        `trunk` (the shrunk face enlarged to S).

    Raises:
        ValueError: for a size out of range.
    """
    model = recognizer.model
    canonical = model.canonical_size
    if not sizes or not all(4 <= size <= canonical for size in sizes):
        raise ValueError(f"sizes {sizes}: expected 4 to {canonical} px")
    small = [resize(probe, size, model.views) for size in sizes]
    branch = unit_normalise(recognizer.embed([gallery, *small]))
    trunk = unit_normalise(
        embed_images(model.networks[canonical], small, interpolation=model.views, mirror=False)
    )
    return [
        {
            "size": size,
            "resolution": recognizer.resolution_of(size, size),
            "branch": round(float(branch[1 + row] @ branch[0]), 4),
            "trunk": round(float(trunk[row] @ branch[0]), 4),
        }
        for row, size in enumerate(sizes)
    ]


class _Server(ThreadingHTTPServer):
    """Threads are bounded: each connection has one, until it is answered or has been silent for too long."""

    def __init__(self, *args: Any) -> None:
        self._places = threading.BoundedSemaphore(_MOST_CONNECTIONS)
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._places.acquire(blocking=False):
            with contextlib.suppress(OSError):
                request.sendall(_REFUSED)
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._places.release()

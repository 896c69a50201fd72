"""The page's server: what the page is told is what the recogniser says, and nothing oversized is read."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer

import numpy as np
import pytest

from btnet.evaluation.cosine import unit_normalise
from btnet.images.codec import decode_image
from btnet.images.resize import resize
from btnet.page.server import make_server
from btnet.serving.face_model import FaceModel
from btnet.serving.recognizer import Recognizer
from btnet.serving.request_queue import RequestQueue
from tiny_models import CANONICAL, crops_of, tiny_btnet


@pytest.fixture(scope="module")
def recognizer() -> Recognizer:
    return Recognizer(FaceModel.of(tiny_btnet(resolutions=(14,)), "phi_bt"))


@pytest.fixture(scope="module")
def server(recognizer: Recognizer) -> Iterator[ThreadingHTTPServer]:
    with make_server(recognizer, port=0) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def ask(
    server: ThreadingHTTPServer, method: str, path: str, body: bytes | None = None, length: int | None = None
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    headers = {} if length is None else {"Content-Length": str(length)}
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    status, content = answer.status, answer.read()
    connection.close()
    return status, content


def test_scores_are_those_of_branch_and_trunk(server: ThreadingHTTPServer, recognizer: Recognizer) -> None:
    faces = crops_of([(CANONICAL, CANONICAL)] * 2)
    body = np.stack([np.dstack([face, np.full(face.shape[:2], 255, np.uint8)]) for face in faces]).tobytes()
    status, content = ask(server, "POST", "/compare?sizes=9,14,112", body)
    assert status == 200
    for found, size in zip(json.loads(content), (9, 14, 112), strict=True):
        small = resize(faces[1], size)
        one, branch, trunk = unit_normalise(recognizer.embed([faces[0], small, resize(small, CANONICAL)]))
        assert found["size"] == size
        assert found["resolution"] == (112 if size == 112 else 14)
        assert found["branch"] == pytest.approx(float(one @ branch), abs=1e-3)
        assert found["trunk"] == pytest.approx(float(one @ trunk), abs=1e-3)


def test_page_model_and_examples_are_served_to_this_computer_only(server: ThreadingHTTPServer) -> None:
    assert server.server_address[0] == "127.0.0.1"
    status, page = ask(server, "GET", "/")
    assert status == 200
    assert b"<canvas" in page
    assert json.loads(ask(server, "GET", "/model")[1]) == {"size": 112, "resolutions": [112, 14]}
    first = decode_image(ask(server, "GET", "/example?face=4")[1], "example")
    assert first.shape == (112, 112, 3)
    for odd in ("-1", "x", "9" * 5000):
        assert ask(server, "GET", f"/example?face={odd}")[0] == 200
    assert ask(server, "GET", "/../btnet.json")[0] == 404


@pytest.mark.parametrize(
    ("path", "length", "status"),
    [
        ("/compare?sizes=14", 10**12, 413),
        ("/compare?sizes=14", 5, 400),
        ("/elsewhere", 2 * 112 * 112 * 4, 400),
    ],
)
def test_bodies_of_another_length_are_refused_unread(
    server: ThreadingHTTPServer, path: str, length: int, status: int
) -> None:
    found, content = ask(server, "POST", path, b"", length)
    assert found == status
    assert "two faces of 112 x 112 RGBA" in json.loads(content)["error"]


@pytest.mark.parametrize("sizes", ["", "3", "113", "-7", "a", "14,,28"])
def test_sizes_that_are_none_are_answered(server: ThreadingHTTPServer, sizes: str) -> None:
    status, content = ask(server, "POST", f"/compare?sizes={sizes}", bytes(2 * 112 * 112 * 4))
    assert status == 400
    assert "error" in json.loads(content)


def test_what_finds_the_queue_full_is_told_so_and_served_when_there_is_room(recognizer: Recognizer) -> None:
    queue = RequestQueue(num_running=1, num_waiting=0)
    body = bytes(2 * CANONICAL * CANONICAL * 4)
    with make_server(recognizer, port=0, queue=queue) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        try:
            status, content = queue.run(lambda: ask(running, "POST", "/compare?sizes=14", body))
            assert status == 503
            assert "1 requests are at work and 0 are waiting; try again" in json.loads(content)["error"]
            assert queue.run(lambda: ask(running, "GET", "/model"))[0] == 200  # the rest of the page goes on
            assert ask(running, "POST", "/compare?sizes=14", body)[0] == 200
        finally:
            running.shutdown()
            thread.join()


def test_connections_beyond_the_last_place_are_refused_and_places_are_given_back(
    recognizer: Recognizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("btnet.page.server._MOST_CONNECTIONS", 3)
    with make_server(recognizer, port=0) as running:
        thread = threading.Thread(target=running.serve_forever, args=(0.05,))
        thread.start()
        try:
            silent = [socket.create_connection(("127.0.0.1", running.server_port)) for _ in range(3)]
            status, content = ask(running, "GET", "/model")
            assert status == 503
            assert "too many connections" in json.loads(content)["error"]
            for connection in silent:
                connection.close()
            while status == 503:
                status, content = ask(running, "GET", "/model")
            assert status == 200
        finally:
            running.shutdown()
            thread.join()

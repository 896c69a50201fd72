"""Serving at full load for half an hour: memory, answers, the queue's bound and what is refused beyond it.

    python benchmarks/soak.py [MODEL] [--minutes 30] [--output soak.json] [--picture soak.png]

Eight threads ask one recogniser, as fast as they are answered: three requests of four are `embed` with 1 to 16 crops
of mixed sizes, the fourth is a comparison over HTTP from the page's server. All go through one queue, which has room
for fewer than eight: some requests are refused, wait a moment and ask again. Every answer is compared with the one
computed alone, before the load began: each crop by itself, each comparison by itself. Exit status 1 if an answer was
wrong, the queue held more than it may, or memory grew.

Memory is what is resident, once a second. It counts as grown if the median of the last quarter is more than 2 % above
that of the quarter after the warm-up, the first tenth.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import random
import statistics
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, fields
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from btnet import BTNet, mobilefacenet
from btnet.evaluation.plots import COLOURS, check_picture, new_figure, save_figure, tidy
from btnet.files.atomic import replacing
from btnet.inference import Recognizer
from btnet.page.server import compare_at, make_server
from btnet.serving.face_model import FaceModel
from btnet.serving.request_queue import QueueFullError, RequestQueue
from recognizer import Crops, mixed_crops
from results import machine, resident

NUM_THREADS, NUM_RUNNING, NUM_WAITING = 8, 2, 4
NUM_CROPS, NUM_COMPARISONS, LARGEST_REQUEST = 512, 16, 16
SIZES = (7, 14, 20, 28, 56)
EMBEDDING_TOLERANCE, SCORE_TOLERANCE = 1e-4, 2e-4  # of an embedding's length; of a cosine rounded to 4 digits
GROWTH = 1.02


@dataclass
class Counts:
    """What one thread saw."""

    embeds: int = 0
    faces: int = 0
    comparisons: int = 0
    refused: int = 0
    wrong: int = 0
    largest_error: float = 0.0
    slowest_seconds: float = 0.0
    unexpected: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Expected:
    """Requests, and their answers computed alone."""

    crops: Crops
    embeddings: NDArray[np.float32]
    bodies: list[bytes]
    scores: list[list[dict[str, Any]]]


def small_recognizer() -> Recognizer:
    """MobileFaceNet with branches, untrained, with running statistics so that it tells crops apart."""
    torch.manual_seed(0)
    model = BTNet(mobilefacenet(), (28, 14, 7))
    for size in (112, *model.resolutions):
        network = model.trunk if size == 112 else model.network(size)
        norms = [m for m in network.modules() if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d))]
        for norm in norms:
            norm.train()
            norm.momentum = 1.0
        with torch.no_grad():
            network(torch.rand(16, 3, size, size) * 2 - 1)
    return Recognizer(FaceModel.of(model.eval(), "untrained"))


def compute_alone(recognizer: Recognizer) -> Expected:
    """The requests of the soak, each answered while nothing else runs."""
    crops = mixed_crops(NUM_CROPS)
    embeddings = np.concatenate([recognizer.embed([crop]) for crop in crops])
    rng = np.random.default_rng(1)
    size = recognizer.model.canonical_size
    bodies, scores = [], []
    for _ in range(NUM_COMPARISONS):
        faces = rng.integers(0, 256, (2, size, size, 4), dtype=np.uint8)
        bodies.append(faces.tobytes())
        scores.append(compare_at(recognizer, faces[0, ..., :3], faces[1, ..., :3], list(SIZES)))
    return Expected(crops, embeddings, bodies, scores)


def check_embeddings(found: NDArray[np.float32], expected: NDArray[np.float32], counts: Counts) -> None:
    """Compare the answer to one request; errors are relative to the embedding's length."""
    lengths = np.linalg.norm(expected, axis=1)
    error = float((np.linalg.norm(found - expected, axis=1) / lengths).max())
    counts.largest_error = max(counts.largest_error, error)
    counts.wrong += not error <= EMBEDDING_TOLERANCE  # a NaN is wrong too


def check_scores(found: list[dict[str, Any]], expected: list[dict[str, Any]], counts: Counts) -> None:
    """Compare the answer to one comparison."""
    same = len(found) == len(expected) and all(
        a["size"] == b["size"]
        and a["resolution"] == b["resolution"]
        and abs(a["branch"] - b["branch"]) <= SCORE_TOLERANCE
        and abs(a["trunk"] - b["trunk"]) <= SCORE_TOLERANCE
        for a, b in zip(found, expected, strict=False)
    )
    counts.wrong += not same


class Load:
    """Eight callers of one recogniser, until they are told to stop."""

    def __init__(self, recognizer: Recognizer, expected: Expected, queue: RequestQueue, port: int) -> None:
        self.recognizer, self.expected, self.queue, self.port = recognizer, expected, queue, port
        self.stop = threading.Event()

    def caller(self, number: int) -> Counts:
        """Ask, check, ask again."""
        draws, counts = random.Random(number), Counts()
        while not self.stop.is_set():
            start = time.perf_counter()
            try:
                answered = (
                    self._compare(draws, counts) if draws.random() < 0.25 else self._embed(draws, counts)
                )
            except Exception as error:  # whatever it is, it is the result
                counts.unexpected = [*counts.unexpected, repr(error)][:5]
                answered = False
            if answered:
                counts.slowest_seconds = max(counts.slowest_seconds, time.perf_counter() - start)
            else:
                self.stop.wait(draws.uniform(0.01, 0.05))
        return counts

    def _embed(self, draws: random.Random, counts: Counts) -> bool:
        chosen = [draws.randrange(NUM_CROPS) for _ in range(draws.randint(1, LARGEST_REQUEST))]
        try:
            found = self.queue.run(lambda: self.recognizer.embed([self.expected.crops[i] for i in chosen]))
        except QueueFullError:
            counts.refused += 1
            return False
        check_embeddings(found, self.expected.embeddings[chosen], counts)
        counts.embeds, counts.faces = counts.embeds + 1, counts.faces + len(chosen)
        return True

    def _compare(self, draws: random.Random, counts: Counts) -> bool:
        number = draws.randrange(NUM_COMPARISONS)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        with contextlib.closing(connection):
            sizes = ",".join(map(str, SIZES))
            connection.request("POST", f"/compare?sizes={sizes}", self.expected.bodies[number])
            answer = connection.getresponse()
            content = json.loads(answer.read())
        if answer.status == 503:
            counts.refused += 1
            return False
        if answer.status != 200:
            raise RuntimeError(f"status {answer.status}: {content}")
        check_scores(content, self.expected.scores[number], counts)
        counts.comparisons += 1
        return True


@contextlib.contextmanager
def serving(server: ThreadingHTTPServer) -> Iterator[None]:
    """Serve in a thread during the block."""
    thread = threading.Thread(target=server.serve_forever, args=(0.1,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()


def soak(recognizer: Recognizer, seconds: float, period: float) -> dict[str, Any]:
    """Put the load on for so long.

    Args:
        recognizer: under load.
        seconds: how long.
        period: between samples of memory, in seconds.

    Returns:
        Counts over all threads, the fullest the queue was seen, and the samples [seconds, MB, requests in the queue].
    """
    expected = compute_alone(recognizer)
    queue = RequestQueue(num_running=NUM_RUNNING, num_waiting=NUM_WAITING)
    with make_server(recognizer, port=0, queue=queue) as server, serving(server):
        load = Load(recognizer, expected, queue, server.server_port)
        with ThreadPoolExecutor(NUM_THREADS) as pool:
            callers = [pool.submit(load.caller, number) for number in range(NUM_THREADS)]
            samples: list[list[float]] = []
            start, fullest = time.perf_counter(), 0
            try:
                while (now := time.perf_counter() - start) < seconds:
                    if now >= len(samples) * period:
                        samples.append([round(now, 1), round(resident("VmRSS"), 1), queue.num_admitted])
                    fullest = max(fullest, queue.num_admitted)
                    time.sleep(min(0.01, period))
            finally:
                load.stop.set()
            everyone = [caller.result() for caller in callers]
    total: dict[str, Any] = {}
    for item in fields(Counts):
        values = [getattr(counts, item.name) for counts in everyone]
        extreme = item.name in ("largest_error", "slowest_seconds")
        total[item.name] = max(values) if extreme else sum(values[1:], values[0])
    # what an answer that belongs to another crop would be off by
    near, lengths = expected.embeddings[:64], np.linalg.norm(expected.embeddings, axis=1)
    distances = np.linalg.norm(near[:, None] - expected.embeddings[None], axis=2) / lengths
    nearest = float(distances[~np.eye(len(near), NUM_CROPS, dtype=np.bool_)].min())
    left = queue.num_admitted
    return {
        **total,
        "nearest_other_crop": nearest,
        "fullest_queue": fullest,
        "left_in_queue": left,
        "samples": samples,
    }


def memory(samples: Sequence[Sequence[float]]) -> dict[str, float]:
    """Medians, in MB, of the quarter after the first tenth and of the last quarter; the slope between them."""
    count = len(samples)
    early, late = (
        samples[count // 10 : max(count * 35 // 100, count // 10 + 1)],
        samples[-max(count // 4, 1) :],
    )
    first, last = (statistics.median(sample[1] for sample in part) for part in (early, late))
    hours = (statistics.fmean(s[0] for s in late) - statistics.fmean(s[0] for s in early)) / 3600
    return {"early_mb": first, "late_mb": last, "mb_per_hour": (last - first) / hours if hours else 0.0}


def complaints(found: dict[str, Any]) -> list[str]:
    """What is not as it should be."""
    said = [f"{found['wrong']} wrong answers"] if found["wrong"] else []
    said += [f"unexpected: {text}" for text in found["unexpected"]]
    if found["fullest_queue"] > NUM_RUNNING + NUM_WAITING or found["left_in_queue"]:
        said.append(f"the queue held {found['fullest_queue']}, and {found['left_in_queue']} at the end")
    if not (found["embeds"] and found["comparisons"] and found["refused"]):
        said.append("not every kind of answer was seen: the load was too small")
    if found["late_mb"] > GROWTH * found["early_mb"]:
        said.append(f"memory grew from {found['early_mb']:.0f} to {found['late_mb']:.0f} MB")
    return said


def draw(path: Path, found: dict[str, Any]) -> None:
    """Memory over time."""
    figure = new_figure(6.4, 3.0)
    axes = figure.subplots()
    axes.plot(
        [s[0] / 60 for s in found["samples"]], [s[1] for s in found["samples"]], color=COLOURS[0], linewidth=1
    )
    axes.set_ylim(0, None)
    axes.set_xlabel("minutes under load")
    axes.set_ylabel("resident memory, MB")
    tidy(axes)
    save_figure(figure, path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Soak, print, and write what was asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", nargs="?", help="default: an untrained MobileFaceNet with branches")
    parser.add_argument("--backend", choices=("torch", "onnxruntime"), default="torch")
    parser.add_argument("--minutes", type=float, default=30.0, help="(default: %(default)s)")
    parser.add_argument("--period", type=float, default=1.0, help="seconds between samples of memory")
    parser.add_argument("--output", type=Path, metavar="JSON", help="write counts and samples there")
    parser.add_argument("--picture", type=check_picture, metavar="PNG", help="draw the memory curve there")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)  # as many requests are at work as there are cores to spare
    recognizer = Recognizer.load(options.model, options.backend) if options.model else small_recognizer()
    found = soak(recognizer, 60 * options.minutes, options.period)
    found |= memory(found["samples"])
    report = {
        "machine": machine(torch.device("cpu")),
        "model": options.model or "mobilefacenet, untrained",
        "backend": options.backend,
        "minutes": options.minutes,
        "threads": NUM_THREADS,
        "num_running": NUM_RUNNING,
        "num_waiting": NUM_WAITING,
        **found,
    }
    for name, value in report.items():
        if name != "samples":
            print(f"{name:20} {value:.4g}" if isinstance(value, float) else f"{name:20} {value}")
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        with replacing(options.output) as temporary:
            temporary.write_text(json.dumps(report) + "\n")
    if options.picture:
        draw(options.picture, report)
    said = complaints(found)
    print("\n".join(said) or "as it should be")
    return 1 if said else 0


if __name__ == "__main__":
    sys.exit(main())

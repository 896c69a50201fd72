"""What SurvFace, TinyFace and SCFace share: native faces, selection strategies, one feature pass a model."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from btnet.cli import options
from btnet.cli.benchmark import (
    LoadedModels,
    add_feature_arguments,
    add_model_arguments,
    load_models,
    settle_unreadable,
    views_of,
)
from btnet.console import progress_bar
from btnet.public_sets.image_sets import Group, ImageFiles
from btnet.serving.feature_pass import image_sizes
from btnet.serving.native import parse_strategies
from btnet.serving.native_features import embed_native_set
from btnet.serving.results import describe_model, result_document, write_result
from btnet.training.distributed import distributed_context

__all__ = ["Embedded", "NativeBenchmark", "add_native_arguments"]


def add_native_arguments(parser: argparse.ArgumentParser, *, strategy: str = "max+ceil") -> None:
    """Declare the options of a benchmark of native faces."""
    parser.add_argument("--root", type=Path, required=True, metavar="FOLDER", help="the data set's folder")
    options.add_strategy(parser, strategy, "; or several, such as max+ceil,avg+near; or all, the nine")
    options.add_mirror(parser)
    add_model_arguments(parser)
    add_feature_arguments(parser)


class Embedded:
    """Embeddings of a set's groups under one strategy, those of unreadable images left out."""

    def __init__(self, features: NDArray[np.float32], readable: NDArray[np.bool_]) -> None:
        """Take embeddings [N, D], and which of them there are."""
        self._features, self._readable = features, readable

    def group(self, group: Group) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Embeddings and identities of a group."""
        readable = self._readable[group.rows]
        return self._features[group.rows][readable], group.ids[readable]

    def pairs(
        self, first: NDArray[np.int64], second: NDArray[np.int64], issame: NDArray[np.bool_]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.bool_]]:
        """Both sides of the pairs whose images there are, and whether they match."""
        there = self._readable[first] & self._readable[second]
        return self._features[first[there]], self._features[second[there]], issame[there]


class NativeBenchmark:
    """One run: models, the sizes of all faces, and the result they make."""

    def __init__(self, args: argparse.Namespace, images: ImageFiles, checksum: str) -> None:
        """Load the models, look at every image.

        Raises:
            ValueError: as `load_models`, `parse_strategies` and `settle_unreadable`.
            FileNotFoundError: if a model is missing.
        """
        self.args, self.images, self.checksum = args, images, checksum
        self.strategies = parse_strategies(args.strategy)
        self.loaded: LoadedModels = load_models(args)
        with progress_bar("reading", len(images)) as progress:
            self.sizes, unreadable = image_sizes(images, num_workers=args.workers, progress=progress)
        self.unreadable = settle_unreadable(unreadable, images, args)
        self._described: list[dict[str, Any]] = []
        self._idle: list[str] = []

    def score(self, scorer: Callable[[Embedded], list[dict[str, Any]]]) -> list[dict[str, Any]]:
        """Embed with each model, score under each strategy.

        Args:
            scorer: embeddings -> results, without model and strategy.

        Returns:
            The results, with "model", "strategy" and "faces_by_resolution".
        """
        with distributed_context(self.args.device or "") as context:
            for model in self.loaded.models:
                model.to(context.device)
            return list(self._score(scorer))

    def _score(self, scorer: Callable[[Embedded], list[dict[str, Any]]]) -> Iterator[dict[str, Any]]:
        args, readable = self.args, self.sizes.min(axis=1) > 0
        for model, path in zip(self.loaded.models, self.loaded.paths, strict=True):
            with progress_bar(model.name, len(self.images)) as progress:
                features = embed_native_set(
                    model,
                    self.images,
                    self.sizes,
                    self.strategies,
                    args.features,
                    checksum=self.checksum,
                    interpolation=model.views,
                    mirror=args.mirror,
                    batch_size=args.batch_size,
                    num_workers=args.workers,
                    progress=progress,
                )
            self._described.append(describe_model(model, path, features.files))
            self._idle += [
                f"{model.name} at {resolution} px"
                for resolution in model.native_resolutions
                if resolution not in features.files
            ]
            scored: dict[bytes, list[dict[str, Any]]] = {}
            for strategy in self.strategies:
                chosen = features.chosen[strategy]
                # A model of one resolution has one answer to all nine.
                same = chosen.tobytes()
                if same not in scored:
                    scored[same] = scorer(Embedded(features.of(strategy), readable))
                faces = {
                    str(r): int(n)
                    for r, n in zip(*np.unique(chosen[readable], return_counts=True), strict=True)
                }
                head = {"model": model.name, "strategy": strategy.label, "faces_by_resolution": faces}
                yield from ({**head, **result} for result in scored[same])

    def write(
        self,
        task: str,
        name: str,
        protocol: Mapping[str, Any],
        facts: Mapping[str, Any],
        results: Sequence[Any],
    ) -> None:
        """Write the result file, if one was asked for."""
        if self.args.output is None:
            return
        mirror = "image plus mirror" if self.args.mirror else "image alone"
        document = result_document(
            task,
            protocol={"selection": "by native size", "embedding": mirror, **protocol},
            interpolation=views_of(self.loaded.models),
            models=self._described,
            sets=[
                {
                    "name": name,
                    "sha256": self.checksum,
                    "num_images": len(self.images),
                    "unreadable": self.unreadable,
                    **facts,
                    "results": list(results),
                }
            ],
        )
        write_result(self.args.output, document)

    def closing_words(self) -> str:
        """What a reader of the tables must know."""
        mirror = "image plus mirror" if self.args.mirror else "image alone"
        skipped = f"; {len(self.unreadable)} unreadable images left out" if self.unreadable else ""
        idle = f" No face was seen by {', '.join(self._idle)}: no size selects it." if self._idle else ""
        return f"Native faces resized by {views_of(self.loaded.models)}; {mirror}{skipped}.{idle}"

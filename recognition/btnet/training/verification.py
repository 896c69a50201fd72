"""The verification sets of a run: found, held against the model before its first step, scored between steps."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from btnet.data.bin_sets import read_bin
from btnet.files.atomic import replacing
from btnet.files.digest import sha256
from btnet.method.btnet import BTNet
from btnet.model_folder.model_files import RESULTS
from btnet.serving.face_model import FaceModel
from btnet.serving.verify import Pair, VerificationResult, check_verifiable, parse_pair, verify
from btnet.training.distributed import Context
from btnet.training.learner import averaged_statistics
from btnet.training.report import Report, logger
from btnet.training.setup import Model

__all__ = ["Verification", "VerificationError"]


class VerificationError(ValueError):
    """A run has ended and its model is written, but the last verification failed."""


class Verification:
    """Scores the model of a run on its verification sets. All ranks call each method together; the first one scores.

    Args:
        config: of the run.
        built: what it trains.
        folder: of the run; results are written to `results` there.
        context: of this process.

    Attributes:
        sets: files by the name that results, logs and curves have for them.
        pairs: of resolutions.
        written: result files of this run.

    Raises:
        FileNotFoundError: if a set is not there.
        ValueError: for a pair that is none.
    """

    def __init__(self, config: Any, built: Model, folder: Path, context: Context) -> None:
        self.built, self.context, self._results = built, context, folder / RESULTS
        self.written: set[Path] = set()
        self.interpolation = config.interpolation
        self.sets = _named(_find(config.rec, target) for target in config.val_targets)
        self.pairs = [parse_pair(text) for text in config.val_pairs] or _default_pairs(built)
        self._model = FaceModel.of(built.model, config.name, role=config.get("role") or config.name)

    def check(self) -> None:
        """Read every set whole, and embed its first pair at each resolution: what fails here would fail at the end.

        Raises:
            ValueError: naming the set; on all ranks.
        """
        problem: Exception | None = None
        try:
            for path in self.sets.values() if self.context.is_main else ():
                self._check(path)
        except (ValueError, OSError) as error:
            problem = error
        if self.context.any(problem is not None):
            raise problem or ValueError("the first process refused a verification set, see its message")

    def score(self, step: int, report: Report | None) -> list[str]:
        """Score all sets without an effect on training; what fails is logged and does not end the run.

        Args:
            step: number of steps done.
            report: of the first rank.

        Returns:
            What failed, one line per set.
        """
        with averaged_statistics(self.built.learners, self.context):
            failed = [] if report is None else self._score_all(step, report)
            self.context.barrier()
        return failed

    def _score_all(self, step: int, report: Report) -> list[str]:
        failed = []
        for name, path in self.sets.items():
            try:
                images, issame = read_bin(path, size=self._model.canonical_size)
                results = verify(self._model, images, issame, self.pairs, interpolation=self.interpolation)
                report.verification(step, name, results)
                self._write(name, path, step, results)
            except Exception as error:  # of whatever kind: hours of training must not be lost by it
                failed.append(f"{name} ({error or type(error).__name__})")
                logger.error("step %d: verification failed: %s", step, failed[-1], exc_info=True)
        return failed

    def _write(self, name: str, of: Path, step: int, results: list[VerificationResult]) -> None:
        model, path = self._model, self._results / f"{name}.json"
        record = {
            "step": step,
            "interpolation": self.interpolation,
            # Without the weights' fingerprint: those are of this step.
            "model": {
                "name": model.name,
                "role": model.role,
                "kind": model.kind,
                "canonical_size": model.canonical_size,
                "resolutions": list(model.resolutions),
            },
            "set": name,
            "sha256": sha256(of),
            "results": [
                {"pair": r.label, "accuracy": r.accuracy, "std": r.std, "networks": list(r.networks)}
                for r in results
            ],
        }
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as temporary:
            temporary.write_text(json.dumps(record, indent=2) + "\n")
        self.written.add(path)

    def _check(self, path: Path) -> None:
        images, issame = read_bin(path, size=self._model.canonical_size)
        try:
            check_verifiable(self._model, images, issame, self.pairs, interpolation=self.interpolation)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


def _find(rec: str, target: str) -> Path:
    """A verification set by path, or by name beside the training set."""
    beside = Path(rec).parent
    candidates = [Path(target), beside / target, beside / f"{target}.bin"]
    path = next((candidate for candidate in candidates if candidate.is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"val_targets: {target}: no such file, and none beside {rec}; give the path of a .bin"
        )
    return path


def _named(paths: Iterable[Path]) -> dict[str, Path]:
    """Each file once, by its name; by its folder's too where another set has that name already."""
    found: dict[str, Path] = {}
    for path in dict.fromkeys(path.absolute() for path in paths):
        parts = path.with_suffix("").parts[1:]
        longer = ("_".join(parts[-depth:]) for depth in range(1, len(parts) + 1))
        numbered = (f"{parts[-1]}_{number}" for number in itertools.count(2))
        found[next(name for name in itertools.chain(longer, numbered) if name not in found)] = path
    return found


def _default_pairs(built: Model) -> list[Pair]:
    size = built.trunk.input_size
    if not isinstance(built.model, BTNet):
        return [(size, size)]
    return [pair for r in built.model.resolutions for pair in ((r, r), (size, r))]

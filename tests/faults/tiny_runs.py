"""The runs that are disturbed: a training of seconds, an evaluation that keeps its features; and how they end."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

import miniatures
from btnet.data.faces import encode_jpeg
from btnet.data.record_faces import write_record_faces
from btnet.images.resize import resize
from btnet.synthetic.faces import SyntheticFaces
from btnet.training.checkpoint import saved
from jobs import ROOT, Job, btnet_command, train_command

__all__ = ["Evaluation", "Training", "evaluation_data", "training_data"]

_TRUNK = "demo_hr"
_NETWORK = (
    "network_args={'blocks': [1, 1, 1, 1], 'widths': [16, 16, 16, 16], 'canonical_size': 32}",
    "embedding_size=8",
    "dropout=0.3",
)
_SHARED = ("device=cpu", "warmup_epoch=0", "verbose=100000", "frequent=1", "num_workers=0")
SAVE_EVERY = 5
NUM_FACES, GLOBAL_BATCH = 64, 16


def training_data(folder: Path) -> Path:
    """Rendered faces in a .rec."""
    faces = SyntheticFaces(8, NUM_FACES // 8)
    images = [resize(faces[i][0], 32) for i in range(NUM_FACES)]
    path = folder / "faces.rec"
    write_record_faces(path, faces.labels.tolist(), [encode_jpeg(image) for image in images])
    return path


@dataclass(frozen=True)
class Training:
    """One run, or the next life of it.

    Attributes:
        rec: the faces.
        output: its folder.
        num_steps: of the whole run.
        keys: further keys of the configuration.
        processes: that torchrun starts; one is started without it.
        launcher: options of torchrun.
        config: name of the configuration.
        log: of what it says; None: beside the folder.
    """

    rec: Path
    output: Path
    num_steps: int
    keys: tuple[str, ...] = ()
    processes: int = 2
    launcher: tuple[str, ...] = ("--standalone",)
    config: str = _TRUNK
    log: Path | None = None

    def start(self, *keys: str, script: Path | None = None, **environment: str) -> Job:
        """Start it, or go on."""
        epochs = self.num_steps * GLOBAL_BATCH // NUM_FACES
        own = [
            f"rec={self.rec}",
            f"batch_size={GLOBAL_BATCH // self.processes}",
            f"output={self.output}",
            f"num_epoch={epochs}",
            f"save_every={SAVE_EVERY}",
        ]
        network = _NETWORK if self.config == _TRUNK else ()
        all_keys = [*_SHARED, *network, *own, *self.keys, *keys]
        command = train_command(
            all_keys,
            processes=self.processes,
            launcher=self.launcher,
            config=self.config,
            script=script or ROOT / "train.py",
        )
        return Job(command, self.log or self.output.with_suffix(".txt"), environment)

    @property
    def text(self) -> str:
        """Its `train.log`."""
        path = self.output / "train.log"
        return path.read_text() if path.is_file() else ""

    @property
    def lives(self) -> int:
        """How often its loop has begun."""
        return self.text.count("; learning ")

    @property
    def last_step(self) -> int:
        """Of the last life."""
        found = re.findall(r" step (\d+)/", self.text)
        return int(found[-1]) if found else 0

    @property
    def resumed_at(self) -> int:
        """The step after which the last life went on."""
        life = self.text.rpartition("; learning ")[2]
        found = re.search(r"going on after step (\d+)", life)
        return int(found[1]) if found else 0

    @property
    def newest_checkpoint(self) -> int:
        """Step of the newest whole checkpoint; 0 if there is none."""
        folders = saved(self.output / "checkpoints")
        return int(folders[-1].name.removeprefix("step_")) if folders else 0

    @property
    def writing(self) -> bool:
        """Whether a checkpoint is being written, or was when the run was killed."""
        return any((self.output / "checkpoints").glob(".step_*"))

    @property
    def publishing(self) -> bool:
        """Whether it has begun to write its model."""
        return any(self.output.glob("*model.pt*"))

    def weights(self) -> dict[str, str]:
        """Digest of every file of weights."""
        return {
            path.name: digest(path)
            for path in sorted(self.output.glob("*"))
            if path.suffix in (".pt", ".safetensors")
        }

    def files(self) -> list[str]:
        """Names of all that lies in its folder, hidden too."""
        return sorted(path.name for path in self.output.iterdir())


def evaluation_data(folder: Path, num_faces: int) -> tuple[Path, Path]:
    """A model with a branch, and a miniature SurvFace with many distractors."""
    model = miniatures.tiny_model(folder / "model")
    root = miniatures.survface(folder / "SurvFace")
    draws = np.random.default_rng(0)
    rendered = miniatures.face(miniatures.PEOPLE, 0).astype(np.int64)
    for number in range(num_faces):
        height, width = draws.integers(6, 24, 2).tolist()
        noisy = np.clip(rendered + draws.integers(-60, 60, rendered.shape), 0, 255).astype(np.uint8)
        path = root / "Face_Identification_Test_Set" / "unmated_probe" / f"more_{number}.jpg"
        miniatures.write(path, resize(noisy, (height, width)))
    return model, root


@dataclass(frozen=True)
class Evaluation:
    """`btnet survface` with its features on disk.

    Attributes:
        model: a run folder.
        root: of the data set.
        features: folder of the features.
        output: the result.
        log: of what it says; None: beside the result.
    """

    model: Path
    root: Path
    features: Path
    output: Path
    log: Path | None = None

    def start(self, **environment: str) -> Job:
        """Start it, or go on."""
        words: Sequence[object] = ("--root", self.root, "--features", self.features, "--output", self.output)
        command = btnet_command("survface", self.model, *words, "--device", "cpu", "--workers", 1)
        return Job(command, self.log or self.output.with_suffix(".txt"), environment)

    def rows_done(self) -> int:
        """Embeddings on disk, all files together."""
        return sum(int(np.load(path).sum()) for path in self.features.glob("[!.]*/done.npy"))

    def numbers(self) -> Any:
        """The result file's content."""
        return json.loads(self.output.read_text())

    def embeddings(self) -> dict[str, str]:
        """Digest of every file of features, by its key."""
        return {
            path.parent.name: hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(self.features.glob("[!.]*/features.npy"))
        }

    def left_overs(self) -> list[str]:
        """Temporary folders and files that nobody will use."""
        return sorted(path.name for path in self.features.glob(".*"))


def digest(path: Path) -> str:
    """Of a file's bytes; of a safetensors file's content, whose metadata has no order."""
    if path.suffix != ".safetensors":
        return hashlib.sha256(path.read_bytes()).hexdigest()
    found = hashlib.sha256()
    with safe_open(path, "np") as file:
        found.update(repr(sorted(file.metadata().items())).encode())
        for key in sorted(file.keys()):
            value = file.get_tensor(key)
            found.update(f"{key} {value.dtype} {value.shape}".encode() + value.tobytes())
    return found.hexdigest()

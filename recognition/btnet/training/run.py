"""A training run from its configuration to its output folder."""

from __future__ import annotations

import contextlib
import json
import shutil
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from btnet.backbones.state import fingerprint
from btnet.data.faces import FaceSet, open_faces
from btnet.data.loader import Batches, GlobalOrder
from btnet.files.atomic import only_run
from btnet.loss.classifier_file import CLASSIFIER
from btnet.method.btnet import BTNet
from btnet.method.saved_model import write_model
from btnet.model_folder.manifest import read_manifest
from btnet.model_folder.model_files import RESULTS, model_draft
from btnet.training.checkpoint import Checkpoints, remove_folder
from btnet.training.classifiers import origin_of_classifier, write_classifier
from btnet.training.config_file import complete_config, differences, unchanging
from btnet.training.configuration import KEYS
from btnet.training.distributed import Context, distributed_context
from btnet.training.learner import average_statistics
from btnet.training.meters import DivergedError, LossWindow
from btnet.training.optimizer import Schedule
from btnet.training.output_folder import (
    CHECKPOINTS,
    check_space,
    is_finished,
    prepared_folder,
    resumes,
    sweep,
)
from btnet.training.removed_keys import refuse_removed
from btnet.training.report import Report, logger
from btnet.training.setup import Model, build_model, build_step
from btnet.training.signals import stop_request
from btnet.training.step import Step
from btnet.training.teacher import TrunkTeacher
from btnet.training.teacher_cache import cached
from btnet.training.verification import Verification, VerificationError

_DIGITS = 16  # of a digest, which tell two files apart


def train(config: Any, faces: FaceSet | None = None) -> Path:
    """Run a training to its end.

    Args:
        config: from `btnet.training.config_file.load_config`.
        faces: the training set, where it is not what `config.rec` names.

    Returns:
        The output folder.

    Raises:
        ValueError: for a configuration, data or files that do not fit together.
        VerificationError: when the model is written, but could not be verified at the end.
        DivergedError: when a loss is not finite.
        KeyboardInterrupt: when a signal stopped the run; a checkpoint was saved.
    """
    config = complete_config(config)
    folder = Path(config.output)
    if resumes(config) and is_finished(folder):
        _check_finished(folder, config)
        # Of the ranks one holds the folder; where nothing can be written there is nothing to sweep.
        with contextlib.suppress(OSError), only_run(folder) as alone:
            if alone:
                sweep(folder)
        logger.warning("%s: this run has ended; there is nothing to go on with", folder)
        return folder
    with (
        distributed_context(config.device, config.precision, channels_last=config.channels_last) as context,
        prepared_folder(config, context),
        warnings.catch_warnings(),
    ):
        # torch.distributed.checkpoint warns of every run of a single process.
        warnings.filterwarnings("ignore", message="torch.distributed is disabled")
        return _Run(config, context, folder, faces).run()


class _Run:
    def __init__(self, config: Any, context: Context, folder: Path, faces: FaceSet | None = None):
        self.config, self.context, self.folder = config, context, folder
        self.resumed = resumes(config)
        self.faces: FaceSet = faces or open_faces(
            config.rec, corrupt=config.corrupt, native_crops=config.native_crops
        )
        self.built: Model = build_model(config, self.faces, context)
        json.dumps([dict(config), self.built.trunk.arch])  # goes into the manifest: fails now, not then
        self.verification = Verification(config, self.built, folder, context)
        self.verification.check()
        self.order = GlobalOrder(
            len(self.faces),
            batch_size=config.batch_size,
            num_epochs=config.num_epoch,
            seed=config.seed,
            rank=context.rank,
            world_size=context.world_size,
        )
        warmup_steps = config.warmup_epoch * self.order.steps_per_epoch
        self.schedule = Schedule(config.lr, warmup_steps, self.order.total_steps, config.schedule)
        self.step = self._cached(build_step(config, self.built, context))
        self.checkpoints = Checkpoints(
            self.folder / CHECKPOINTS,
            keep=config.keep_checkpoints,
            context=context,
            learners=self.built.learners,
            identity=self._identity(),
        )
        if context.is_main:
            size = self.checkpoints.size_bytes()
            check_space(self.folder, checkpoint_bytes=size, keep=config.keep_checkpoints)

    def _identity(self) -> dict[str, Any]:
        """What makes this experiment: its settings, and what stands behind those that name files and devices."""
        config = self.config
        behind = {
            "batch_size": self.order.global_batch,
            "rec": self.faces.fingerprint()[:_DIGITS],
            "trunk": fingerprint(self.built.trunk.state_dict())[:_DIGITS] if config.trunk else "",
            "classifier": origin_of_classifier(config)[:_DIGITS],
            "teacher_cache": bool(config.teacher_cache),
            "precision": str(self.context.precision).removeprefix("torch."),
        }
        return unchanging(config) | {f"{key} ({KEYS[key].resumes})": value for key, value in behind.items()}

    def _cached(self, step: Step) -> Step:
        if not self.config.teacher_cache:
            return step
        assert isinstance(step.teacher, TrunkTeacher)
        teacher = cached(
            step.teacher,
            Path(self.config.teacher_cache),
            self.faces,
            trunk_fingerprint=fingerprint(self.built.teacher.state_dict()),
            interpolation=self.config.interpolation,
            num_workers=self.config.num_workers,
        )
        return replace(step, teacher=teacher)

    def run(self) -> Path:
        config = self.config
        start = self.checkpoints.load_newest() if self.resumed else 0
        self.order.start_step = start
        with self._report(start) as report, stop_request() as stop, self._saved_at_the_end():
            self._introduce(start)
            window = LossWindow(self.context)
            loader = Batches(
                self.faces,
                self.order,
                batch_size=config.batch_size,
                size=self.built.trunk.canonical_size,
                interpolation=config.interpolation,
                num_workers=config.num_workers,
                pin_memory=self.context.device.type == "cuda",
            )
            for learner in self.built.learners:
                learner.train()
            for step, batch in enumerate(loader, start):
                epoch, rate = step // self.order.steps_per_epoch, self.schedule(step)
                window.add(step, rate, self.step(batch, epoch, rate))
                done = step + 1
                last = done == self.order.total_steps
                stopping = self.context.any(stop.received)
                saving = stopping or last or done % config.save_every == 0
                if done % config.frequent == 0 or saving:
                    means = window.close()
                    if report:
                        report.losses(step, epoch, rate, means)
                self._tell(self.checkpoints.poll())
                with report.pause() if report else contextlib.nullcontext():
                    if saving:
                        # Behind `window.close()`: what has diverged is never saved.
                        self._tell(self.checkpoints.finish())
                        self.checkpoints.save(done)
                    if not stopping and not last and done % config.verbose == 0:
                        self.verification.score(done, report)
                if stopping:
                    self._tell(self.checkpoints.finish())
                    logger.info("stopped after step %d; go on with --set resume=True", done)
                    raise KeyboardInterrupt
            self._tell(self.checkpoints.finish())  # whatever happens from here on, nothing is trained again
            failed = self.verification.score(self.order.total_steps, report)
            self._publish()
        if failed:
            raise VerificationError(
                f"{self.folder}: the model is written, but its last verification failed: {'; '.join(failed)}"
            )
        return self.folder

    @contextlib.contextmanager
    def _saved_at_the_end(self) -> Iterator[None]:
        """Whatever ends the run: a checkpoint under way is completed if it can be."""
        try:
            yield
        except BaseException:
            with contextlib.suppress(OSError):
                self._tell(self.checkpoints.complete())
            raise

    def _tell(self, checkpoint: Path | None) -> None:
        if checkpoint is not None:
            logger.info("saved %s", checkpoint)

    @contextlib.contextmanager
    def _report(self, start: int) -> Iterator[Report | None]:
        if not self.context.is_main:
            yield None
            return
        with Report(
            self.folder,
            total_steps=self.order.total_steps,
            start_step=start,
            batch_size=self.order.global_batch,
        ) as report:
            try:
                yield report
            except (DivergedError, OSError) as error:
                logger.error("%s", error)
                raise

    def _introduce(self, start: int) -> None:
        learnt = {item.name: sum(p.numel() for p in item.learnt.values()) for item in self.built.learners}
        logger.info(
            "%s: %d images of %d identities; %d steps of %d images on %d x %s, %s; learning %s",
            self.config.name, len(self.faces), self.faces.num_classes, self.order.total_steps,
            self.order.global_batch, self.context.world_size, self.context.device.type,
            str(self.context.precision).removeprefix("torch."),
            ", ".join(f"{count:,} parameters of {name}" for name, count in learnt.items()),
        )  # fmt: skip
        if self.resumed:
            logger.info("going on after step %d" if start else "no checkpoint: beginning at step %d", start)

    def _publish(self) -> None:
        """Write the model folder: with the trunk's classifier, or that of each branch that learnt its own."""
        average_statistics(self.built.learners, self.context)
        model, config = self.built.model, self.config
        own = isinstance(model, BTNet) and not config.freeze_classifier
        centres = {
            f"classifier_{item.name}.safetensors" if own else CLASSIFIER: item.classifier.full_weight()
            for item in (self.built.learners if own else self.built.learners[:1])
            if item.classifier is not None
        }
        if self.context.is_main:
            sections = {
                "role": config.role or config.name,
                "config": dict(config),
                "data_fingerprint": self.faces.fingerprint(),
            }
            with model_draft(self.folder) as draft:
                if isinstance(model, BTNet):
                    model.save(draft, **sections)
                else:
                    write_model(
                        draft, model, (), config.interpolation, input_size=model.input_size, **sections
                    )
                for name, weight in centres.items():
                    assert weight is not None
                    write_classifier(draft / name, weight, self.faces, self.built.trunk)
                for path in sorted(self.verification.written):
                    (draft / RESULTS).mkdir(exist_ok=True)
                    shutil.copyfile(path, draft / RESULTS / path.name)
            remove_folder(self.folder / CHECKPOINTS)
            logger.info("wrote %s", self.folder)
        self.context.barrier()


def _check_finished(folder: Path, config: Any) -> None:
    """Refuse to take the model of another experiment for this one's."""
    before = read_manifest(folder).get("config")
    refuse_removed(before if isinstance(before, dict) else {}, str(folder))
    now = unchanging(config) | {key: config[key] for key in ("rec", "trunk", "classifier")}
    before = {key: value for key, value in before.items() if key in now} if isinstance(before, dict) else now
    if told := differences(before, now):
        raise ValueError(
            f"{folder}: holds a finished run of another experiment: {told}; choose another output"
        )

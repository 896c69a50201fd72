"""The folder a run writes to: new, resumed or refused, checked before training starts."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from btnet.backbones.trunk_file import trunk_file
from btnet.files.atomic import only_run
from btnet.model_folder.manifest import NAME as MANIFEST
from btnet.model_folder.model_files import refuse_model
from btnet.training.checkpoint import remove_folder, saved
from btnet.training.distributed import Context

CHECKPOINTS = "checkpoints"
_PROBE = ".probe"
_TEMPORARY = re.compile(r"\..+\.\d+\.tmp")  # of `btnet.files.atomic`


def resumes(config: Any) -> bool:
    """Whether the run goes on from its newest checkpoint: it was told to, or torchrun has restarted it."""
    return bool(config.resume) or int(os.environ.get("TORCHELASTIC_RESTART_COUNT", 0)) > 0


def is_finished(folder: Path) -> bool:
    """Whether a run in this folder has ended: its manifest is written, and its checkpoints have served."""
    return (folder / MANIFEST).is_file() and not (folder / CHECKPOINTS).exists()


@contextlib.contextmanager
def prepared_folder(config: Any, context: Context) -> Iterator[Path]:
    """Make the output folder and its `checkpoints`, which is there from now until the run has ended.

    No other run may write there during the block.

    Raises:
        FileExistsError: if it holds a model, and the run neither goes on nor may overwrite it.
        ValueError: if it holds an unfinished run that was not asked for, is the trunk's own, if another run is
            writing there, or if other nodes do not see it.
        PermissionError: if nothing can be written there.
    """
    folder = Path(config.output)
    anew = not resumes(config)
    if anew and saved(folder / CHECKPOINTS) and not config.overwrite:
        raise ValueError(
            f"{folder}: holds the checkpoints of an unfinished run; go on with --set resume=True, or choose "
            "another folder with --set output=FOLDER"
        )
    if anew or not (folder / CHECKPOINTS).exists():  # else a run began here, and was allowed to
        refuse_model(folder, overwrite=config.overwrite, option="--set overwrite=True")
    if config.trunk and folder.resolve() == trunk_file(config.trunk).resolve().parent:
        raise ValueError(f"output={folder}: is the trunk's own folder; choose another")
    probe = folder / CHECKPOINTS / _PROBE
    context.barrier()  # behind the checks of all ranks: the next lines change what they look at
    with contextlib.ExitStack() as held:
        if context.is_main:
            try:
                probe.parent.mkdir(parents=True, exist_ok=True)
                probe.write_text("written before training starts, to know that it can be")
            except OSError as error:
                raise PermissionError(
                    f"{folder}: cannot write there ({error}); choose another folder with --set output=FOLDER"
                ) from error
            if not held.enter_context(only_run(folder)):
                raise ValueError(
                    f"{folder}: another run is writing there (ranks go on when torchrun alone was killed); stop it, "
                    "or choose another folder with --set output=FOLDER"
                )
            sweep(folder)
            for checkpoint in saved(folder / CHECKPOINTS) if anew else ():
                remove_folder(checkpoint)
        context.barrier()
        if context.any(not probe.is_file()):
            raise ValueError(
                f"{folder}: what the first process wrote there is not seen by all; put output on a file system "
                "that all nodes share"
            )
        if context.is_main:
            probe.unlink()
        yield folder


def sweep(folder: Path) -> None:
    """Remove what a run that was killed left half-written, or half-removed."""
    halves = [path for path in folder.glob(".*.tmp") if _TEMPORARY.fullmatch(path.name)]
    for path in [*halves, *folder.glob(f".{CHECKPOINTS}.old"), *folder.glob(f"{CHECKPOINTS}/.step_*")]:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def check_space(folder: Path, *, checkpoint_bytes: int, keep: int) -> None:
    """Refuse to start a run whose checkpoints the disk cannot hold.

    Args:
        folder: of the run.
        checkpoint_bytes: of one.
        keep: how many stay; one more is there while it is written.

    Raises:
        ValueError: naming what is needed and what is free.
    """
    missing = keep + 1 - len(saved(folder / CHECKPOINTS))
    needed, free = max(1, missing) * checkpoint_bytes, shutil.disk_usage(folder).free
    if free < needed:
        raise ValueError(
            f"{folder}: {free / 1e9:.3g} GB are free, but checkpoints need {needed / 1e9:.3g} GB "
            f"({keep} kept and one being written, {checkpoint_bytes / 1e9:.3g} GB each); make room, lower "
            "keep_checkpoints, or choose another disk with --set output=FOLDER"
        )

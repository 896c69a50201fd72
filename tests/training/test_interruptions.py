from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest
import torch

from btnet.training.checkpoint import saved
from btnet.training.config_file import load_config
from btnet.training.meters import DivergedError
from btnet.training.run import train
from jobs import ROOT, descendants, train_command
from tiny_keys import NETWORK

SMALL = ["rec=synthetic:8:8", "frequent=2", "num_workers=0", "warmup_epoch=0", "device=cpu"]
SMALL_NEW = [*SMALL, *NETWORK]


def command(*overrides: str, processes: int = 1) -> list[str]:
    return train_command([*SMALL_NEW, *overrides], processes=processes)


@pytest.mark.parametrize("number", [pytest.param(signal.SIGINT, marks=pytest.mark.nightly), signal.SIGTERM])
def test_a_signal_leaves_a_checkpoint_that_another_number_of_ranks_goes_on_from(
    tmp_path: Path, number: signal.Signals
) -> None:
    output = f"output={tmp_path}"
    run = subprocess.Popen(
        command(output, "batch_size=16", "num_epoch=1000"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    log = tmp_path / "train.log"
    deadline = time.monotonic() + 120
    while not (log.is_file() and "step 4/" in log.read_text()):
        assert run.poll() is None, run.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    run.send_signal(number)
    _, errors = run.communicate(timeout=60)
    assert run.returncode == 130, errors
    [checkpoint] = saved(tmp_path / "checkpoints")
    assert f"saved {checkpoint}" in log.read_text()
    assert "resume=True" in log.read_text()
    if number == signal.SIGTERM:
        return

    def going_on(*overrides: str, processes: int) -> subprocess.CompletedProcess[str]:
        line = command(output, "resume=True", "num_epoch=1000", *overrides, processes=processes)
        # Stopped again at once: that it goes on from the right step is what is asked.
        return subprocess.run(line, capture_output=True, text=True, timeout=120)

    refused = going_on("batch_size=8", processes=1)
    assert refused.returncode == 2
    assert "(images per step over all ranks) was 16, now it is 8" in refused.stderr
    line = command(output, "resume=True", "num_epoch=1000", "batch_size=8", processes=2)
    second = subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    steps = int(checkpoint.name.removeprefix("step_"))
    while f"going on after step {steps}" not in log.read_text() or log.read_text().count("step ") < 8:
        assert second.poll() is None, second.communicate()[1]
        assert time.monotonic() < deadline + 60
        time.sleep(0.1)
    second.send_signal(signal.SIGTERM)
    second.communicate(timeout=60)


@pytest.mark.nightly
def test_torchrun_goes_on_by_itself_after_a_rank_was_killed_and_ends_with_the_same_model(
    tmp_path: Path,
) -> None:
    keys = ["batch_size=4", "num_epoch=6", "save_every=4", "verbose=1000", "keep_checkpoints=1"]
    undisturbed = command(*keys, f"output={tmp_path / 'whole'}", processes=2)
    subprocess.run(undisturbed, check=True, capture_output=True, timeout=240)

    folder = tmp_path / "killed"
    line = command(*keys, f"output={folder}", processes=2)
    # not --standalone: torchrun then keeps one store over its restarts
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    where = line.index("--standalone")
    line[where : where + 1] = ["--max-restarts=1", f"--master-port={port}"]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as run:
        deadline = time.monotonic() + 240
        while not saved(folder / "checkpoints"):
            assert run.poll() is None, run.communicate()[0]
            assert time.monotonic() < deadline
            time.sleep(0.02)
        os.kill(descendants(run.pid)[-1], signal.SIGKILL)
        output, _ = run.communicate(timeout=240)
    assert run.returncode == 0, output
    assert "going on after step" in (folder / "train.log").read_text()
    assert (folder / "model.pt").read_bytes() == (tmp_path / "whole" / "model.pt").read_bytes()


def test_a_run_that_has_ended_is_not_begun_again(tmp_path: Path) -> None:
    keys = [*SMALL_NEW, f"output={tmp_path}", "batch_size=32", "num_epoch=1"]
    train(load_config(ROOT / "configs/demo_hr", keys))
    before = (tmp_path / "train.log").read_text()
    for left_by_a_kill in (".lock", ".classifier.safetensors.7.tmp"):
        (tmp_path / left_by_a_kill).touch()
    train(load_config(ROOT / "configs/demo_hr", [*keys, "resume=True"]))
    assert (tmp_path / "train.log").read_text() == before
    assert list(tmp_path.glob(".*")) == []


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    config = load_config(
        ROOT / "configs" / "demo_hr",
        [*SMALL_NEW, f"output={tmp_path}", "batch_size=16", "num_epoch=50", "lr=1e30", "clip=0"],
    )
    with pytest.raises(DivergedError, match=r"step \d+ \(learning rate \S+e\+\d\d\)"):
        train(config)
    assert "last finite losses" in (tmp_path / "train.log").read_text()
    assert not (tmp_path / "model.pt").exists()


def test_the_authors_preset_trains_less(tmp_path: Path) -> None:
    trunk = train(
        load_config(
            ROOT / "configs/demo_hr",
            [*SMALL_NEW, f"output={tmp_path / 'hr'}", "batch_size=32", "num_epoch=1"],
        )
    )
    arguments = [*SMALL, f"output={tmp_path / 'bt'}", f"trunk={trunk}", "batch_size=32", "num_epoch=1"]
    branch = train(load_config(ROOT / "configs/demo_btnet_r14", [*arguments, "learnt=authors"]))
    from safetensors.torch import load_file

    before = torch.load(trunk / "model.pt", weights_only=True)
    after = load_file(branch / "overlay_r14.safetensors")
    assert torch.equal(after["features.bias"], before["features.bias"])
    assert not torch.equal(after["bn1.bias"], before["bn1.bias"])

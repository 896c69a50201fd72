"""A slice of `make fuzz`: every reader, some damage; and the harness itself sees what it is there to see."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fuzzing import worker
from fuzzing.supervisor import run_target
from fuzzing.target import Change, Seeds, Target

HERE = Path(__file__).parent


def test_damaged_files_are_read_right_or_refused_clearly_by_every_reader() -> None:
    paths = os.pathsep.join([str(HERE), str(HERE.parents[1] / "recognition")])
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "1"}
    run = subprocess.run(
        [sys.executable, "-m", "fuzzing", "--cases", "40"], capture_output=True, text=True, env=environment
    )
    assert run.returncode == 0, run.stdout + run.stderr[-3000:]
    assert run.stdout.count("clear error") >= 25, run.stdout


def make(folder: Path) -> None:
    (folder / "seed").mkdir(exist_ok=True)
    (folder / "seed" / "file").write_bytes(b"0123456789")


def target(act: Callable[[bytes], Any], **options: Any) -> Target:
    def read(folder: Path) -> Any:
        content = (folder / "file").read_bytes()
        return "original" if content == b"0123456789" else act(content)

    return Target("planted", make, read, **options)


def crash(_: bytes) -> None:
    os.abort()


def fill(_: bytes) -> int:
    return len(bytearray(1 << 30))


def hide(_: bytes) -> None:
    try:
        bytearray(1 << 30)
    except MemoryError as error:
        raise ValueError("planted: damaged") from error


def spin(_: bytes) -> None:
    while True:
        pass


def leave(_: bytes) -> None:
    os._exit(0)


def index(content: bytes) -> int:
    return {b"": 0}[content[:1] and b"x"]


def refuse(_: bytes) -> None:
    raise ValueError("planted: damaged")


@pytest.mark.parametrize(
    ("act", "outcome"),
    [
        (crash, "crash"),
        (leave, "crash"),
        (spin, "hang"),
        (fill, "memory"),
        (hide, "memory"),
        (lambda content: content, "wrong"),
        (index, "other error"),
        (lambda _: os.system("true"), "code run"),
        (lambda _: Path("written").write_text("x"), "code run"),
        (refuse, "clear error"),
    ],
)
def test_what_a_reader_must_not_do_is_seen(
    act: Callable[[bytes], Any], outcome: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(worker, "HANG_SECONDS", 0.3)
    monkeypatch.chdir(tmp_path)
    report = run_target(target(act, names="planted"), 3)
    assert report.counts == {outcome: 3}
    assert len(report.failures) == (0 if outcome == "clear error" else 3)
    assert not list(tmp_path.iterdir())


def test_an_error_that_does_not_name_its_file_is_a_failure() -> None:
    assert run_target(target(refuse, names="file"), 2).counts == {"other error": 2}


def test_other_content_is_accepted_only_where_the_judge_has_nothing_to_say() -> None:
    def accept(original: Any, found: Any, change: Change) -> None:
        assert original == "original"
        assert found == change.after

    assert run_target(target(lambda content: content, judge=accept), 5).counts == {"other content": 5}


def test_a_case_is_the_same_whenever_it_is_made(tmp_path: Path) -> None:
    make(tmp_path)
    seeds = [Seeds.load(target(refuse), tmp_path) for _ in range(2)]
    assert [seeds[0].change(i) for i in range(50)] == [seeds[1].change(i) for i in range(50)]
    assert len({seeds[0].change(i).after for i in range(50)}) > 40


def test_seeds_that_do_not_read_are_an_error_of_the_harness() -> None:
    def read(folder: Path) -> Any:
        raise ValueError("nothing reads")

    with pytest.raises(RuntimeError, match="no seed reads"):
        run_target(Target("planted", make, read), 1)

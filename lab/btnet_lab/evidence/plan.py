"""The plan of an evidence run: rows, the jobs that measure them, sweeps that run first, comparisons."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from btnet.training.configuration import WEIGHTS

RESOLUTIONS: Final = (28, 14, 7)
BRANCH, TRUNK = "evidence_branch", "evidence_trunk"
GIVEN_TRUNK: Final = ""
_TEACHERS_WEIGHTS: Final = tuple(key for key in WEIGHTS if key != "influence_weight")


@dataclass(frozen=True)
class Row:
    """A model that is trained (or taken as it is) and measured.

    Attributes:
        name: of its folders and files, unique in the plan.
        places: name of each table or curve it stands in -> what it is called there.
        config: in the folder of configs; "" where nothing is trained: the trunk as it is.
        settings: keys that differ from the config.
        resolution: of the branch, in px; 0: a trunk, or several branches that one run trains.
        trunk: the row whose trunk it stands on or starts from; "" the given one.
        data: name of the set it learns from.
        tail_at: the shared tail starts behind the coupling layer of this size in px; 0: as the settings say.
        method: whose chosen settings it takes; "" none.
        seeds: one run for each.
        removed: keys that made it and that this version no longer has (`btnet.training.configuration.REMOVED`), with
            their values: its result files are read and compared, but it cannot be run.
        turn: 0, or when it is run: first seeds of turn n come before further seeds of it, and these with turn n + 1.
    """

    name: str
    places: Mapping[str, str]
    config: str = BRANCH
    settings: Mapping[str, Any] = field(default_factory=dict)
    resolution: int = 0
    trunk: str = GIVEN_TRUNK
    data: str = "train"
    tail_at: int = 0
    method: str = ""
    seeds: Sequence[int] = (1,)
    removed: Mapping[str, Any] = field(default_factory=dict)
    turn: int = 0

    @property
    def is_cached(self) -> bool:
        """Whether a loss compares with the frozen trunk, whose answers a teacher cache can keep."""
        weights = dict.fromkeys(_TEACHERS_WEIGHTS, 0.0)
        if self.config == BRANCH:
            weights["distillation_weight"] = 0.5
        return bool(self.config) and any(self.settings.get(key, value) for key, value in weights.items())

    @property
    def kind(self) -> str:
        """What costs about the same per image; see `btnet_lab.evidence.state`."""
        if self.config != BRANCH:
            return f"{self.config}{', cached' if self.is_cached else ''}" if self.config else "measured only"
        return f"{self.resolution} px, cached" if self.is_cached else f"{self.resolution} px"


@dataclass(frozen=True)
class Job:
    """One run of a row."""

    row: Row
    seed: int

    @property
    def name(self) -> str:
        """Of its folder and result file."""
        return f"{self.row.name}-s{self.seed}"


@dataclass(frozen=True)
class Sweep:
    """Settings of a method, chosen on people of the training set before its rows are run.

    Attributes:
        row: what is tried; learns from "part" and is measured on "choice".
        grid: key -> values; all combinations are tried.
    """

    row: Row
    grid: Mapping[str, Sequence[Any]]

    def rows(self) -> list[Row]:
        """One row for each combination."""
        rows = []
        for values in itertools.product(*self.grid.values()):
            tried = dict(zip(self.grid, values, strict=True))
            name = "_".join(
                [f"choice_{self.row.method}", *(f"{key}={value}" for key, value in tried.items())]
            )
            text = ", ".join(f"{key} {value}" for key, value in tried.items())
            rows.append(
                replace(
                    self.row,
                    name=name,
                    places={"choices": f"{self.row.method}: {text}"},
                    settings={**self.row.settings, **tried},
                    data="part",
                )
            )
        return rows


@dataclass(frozen=True)
class Comparison:
    """Two rows, judged on the same people: is the first better than the second?"""

    first: str
    second: str
    pairs: Sequence[str]


@dataclass(frozen=True)
class Plan:
    """All that is run: rows, each behind the sweep of its method, then the tests on photographed faces.

    What is measured on photographed faces is `native`: name in the table -> rows whose branches are joined.
    """

    rows: Sequence[Row]
    sweeps: Sequence[Sweep] = ()
    comparisons: Sequence[Comparison] = ()
    native: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def jobs(self) -> list[Job]:
        """Runs in order: by turn, first seeds first; a sweep stands before the first row that takes its choice."""
        runs = [
            (row.turn + (i > 0), i, row)
            for row in self.rows
            if not row.removed
            for i in range(len(row.seeds))
        ]
        waiting = {sweep.row.method: sweep for sweep in self.sweeps}
        jobs = []
        for _, i, row in sorted(runs, key=lambda run: run[:2]):
            if sweep := waiting.pop(row.method, None):
                jobs += [Job(tried, tried.seeds[0]) for tried in sweep.rows()]
            jobs.append(Job(row, row.seeds[i]))
        return jobs

    def recorded(self) -> list[Job]:
        """Runs of removed keys, which have results and cannot be run."""
        return [Job(row, seed) for row in self.rows if row.removed for seed in row.seeds]

    def order(self, name: str) -> int:
        """Place of a row among the rows; sweeps stand behind all of them."""
        names = [row.name for row in [*self.rows, *(row for sweep in self.sweeps for row in sweep.rows())]]
        return names.index(name)

    def sizes(self, row: Row) -> list[int]:
        """What a row is measured at, in px: a branch at its own size, a trunk at those of all branches."""
        if row.config == BRANCH:
            return [row.resolution] if row.resolution else list(row.settings["branches"])
        return sorted({other.resolution for other in self.rows if other.resolution}, reverse=True)

    def row(self, name: str) -> Row:
        """By name."""
        return next(row for row in self.rows if row.name == name)


def branch_pairs(resolution: int) -> list[str]:
    """What a branch is compared at."""
    return [f"112-{resolution}", f"{resolution}-{resolution}"]

"""Stand-in: a configuration over its base, both Python modules."""

from __future__ import annotations

import importlib
import os.path as osp
from typing import Any


def get_config(config_file: str) -> Any:
    name = osp.splitext(osp.basename(config_file))[0]
    cfg = importlib.import_module("configs.base").config
    cfg.update(importlib.import_module(f"configs.{name}").config)
    if cfg.output is None:
        cfg.output = osp.join("work_dirs", name)
    return cfg

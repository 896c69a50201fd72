"""`state_dict()` of a BTNet holds each tensor once: what a branch shares stands under the trunk's key alone."""

from __future__ import annotations

from typing import Any

from torch import nn


def store_shared_once(model: nn.Module) -> None:
    """Leave shared parameters out of a BTNet's state dict, and find them again where one is loaded."""
    model.register_state_dict_post_hook(_drop_shared)  # type: ignore[no-untyped-call]
    model.register_load_state_dict_pre_hook(_restore_shared)  # type: ignore[no-untyped-call]


def _drop_shared(model: Any, state: dict[str, Any], prefix: str, _metadata: dict[str, Any]) -> None:
    for key in _shared_keys(model, prefix):
        state.pop(key, None)


def _restore_shared(model: Any, state: dict[str, Any], prefix: str, *_: object) -> None:
    state |= {key: state[trunk] for key, trunk in _shared_keys(model, prefix).items() if trunk in state}


def _shared_keys(model: Any, prefix: str) -> dict[str, str]:
    """The trunk's key by a branch's."""
    return {
        f"{prefix}networks.{r}.{key}": f"{prefix}trunk.{key}"
        for r in model.resolutions
        for key in model.shared(r)
    }

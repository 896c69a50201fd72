"""Targets: ONNX files, as a trunk to be imported, as the networks of a recogniser, and in a bundle."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any, Final

import numpy as np
import onnx
from onnx import helper, numpy_helper

from btnet.backbones.iresnet import IResNet
from btnet.backbones.state import fingerprint
from btnet.files.digest import sha256
from btnet.interop.onnx_trunk import import_onnx
from btnet.model_folder.manifest import write_manifest
from btnet.serving.loading import load_model
from btnet.serving.onnx_folder import bundle_networks
from btnet.serving.onnx_session import open_session
from fuzzing.mutators import damage, damage_json
from fuzzing.target import Change, Target, WrongAnswerError, plain
from fuzzing.weights import tiny_trunk

_EPS: Final = 1e-5


def graph_of(trunk: IResNet) -> Any:
    """An IResNet as an ONNX model, node by node: exporting takes seconds."""
    state = {key: value.detach().numpy() for key, value in trunk.state_dict().items()}
    nodes: list[Any] = []

    def add(kind: str, inputs: list[str], output: str, **attributes: Any) -> str:
        nodes.append(helper.make_node(kind, inputs, [output], **attributes))
        return output

    def norm(x: str, name: str) -> str:
        keys = [f"{name}.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
        return add("BatchNormalization", [x, *keys], f"{name}.out", epsilon=_EPS)

    def conv(x: str, name: str, stride: int) -> str:
        size = state[f"{name}.weight"].shape[-1]
        return add(
            "Conv",
            [x, f"{name}.weight"],
            f"{name}.out",
            strides=[stride] * 2,
            pads=[size // 2] * 4,
            kernel_shape=[size] * 2,
        )

    def slopes(x: str, name: str) -> str:
        state[f"{name}.weight"] = state[f"{name}.weight"].reshape(-1, 1, 1)
        return add("PRelu", [x, f"{name}.weight"], f"{name}.out")

    x = slopes(norm(conv("data", "conv1", 1), "bn1"), "prelu")
    for stage in (1, 2, 3, 4):
        name = f"layer{stage}.0"
        inner = slopes(norm(conv(norm(x, f"{name}.bn1"), f"{name}.conv1", 1), f"{name}.bn2"), f"{name}.prelu")
        inner = norm(conv(inner, f"{name}.conv2", 2), f"{name}.bn3")
        x = add(
            "Add", [inner, norm(conv(x, f"{name}.downsample.0", 2), f"{name}.downsample.1")], f"{name}.out"
        )
    x = add("Flatten", [norm(x, "bn2")], "flat")
    x = add("Gemm", [x, "fc.weight", "fc.bias"], "fc.out", transB=1)
    keys = [f"features.{part}" for part in ("weight", "bias", "running_mean", "running_var")]
    add("BatchNormalization", [x, *keys], "embedding", epsilon=_EPS)
    size = trunk.input_size
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "trunk",
        [helper.make_tensor_value_info("data", onnx.TensorProto.FLOAT, ["batch", 3, size, size])],
        [helper.make_tensor_value_info("embedding", onnx.TensorProto.FLOAT, ["batch", trunk.embedding_size])],
        [numpy_helper.from_array(value, key) for key, value in state.items() if key in used],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    stamp = fingerprint(trunk.state_dict())
    helper.set_model_props(
        model,
        {
            "arch": json.dumps(trunk.arch), "resolution": str(size), "input_size": str(size),
            "network_fingerprint": stamp, "trunk_fingerprint": stamp,
        },
    )  # fmt: skip
    return model


def hostile_graphs(model: Any) -> dict[str, Any]:
    """Models that ask for memory, files or loops beside a network that is well formed."""
    found = {}
    one, zero = np.array(1), np.array(0)
    operators: dict[str, tuple[str, dict[str, Any]]] = {
        "expands": ("Expand", {"one": np.ones(1, np.float32), "shape": np.array([1 << 36])}),
        "tiles": ("Tile", {"one": np.ones(1 << 10, np.float32), "shape": np.array([1 << 26])}),
        "fills": ("ConstantOfShape", {"shape": np.array([1 << 20, 1 << 16])}),
        "counts": ("Range", {"zero": zero, "end": np.array(1 << 40), "one": one}),
    }
    for name, (kind, constants) in operators.items():
        hostile = onnx.ModelProto.FromString(model.SerializeToString())
        hostile.graph.initializer.extend(
            numpy_helper.from_array(value, key) for key, value in constants.items()
        )
        hostile.graph.node.append(helper.make_node(kind, list(constants), ["hostile"]))
        found[name] = hostile
    for name, location in (
        ("outside", "../../../../etc/passwd"),
        ("absolute", "/etc/passwd"),
        ("absent", "weights.bin"),
    ):
        hostile = onnx.ModelProto.FromString(model.SerializeToString())
        tensor = next(t for t in hostile.graph.initializer if t.name == "fc.weight")
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in (("location", location), ("offset", "0"), ("length", "64")):
            tensor.external_data.add(key=key, value=value)
        found[name] = hostile
    return found


def _make(folder: Path) -> None:
    model = graph_of(tiny_trunk())
    size = tiny_trunk().input_size
    for name, content in {"benign": model, **hostile_graphs(model)}.items():
        (folder / name).mkdir(exist_ok=True)
        (folder / name / f"embed_r{size}.onnx").write_bytes(content.SerializeToString())


def _make_bundle(folder: Path) -> None:
    seed, trunk = folder / "bundle", tiny_trunk()
    seed.mkdir(exist_ok=True)
    name, size = f"embed_r{trunk.canonical_size}.onnx", trunk.canonical_size
    weights = Path("trunk.data")
    onnx.save_model(
        graph_of(trunk), seed / name, save_as_external_data=True, location=weights.name, size_threshold=64
    )
    files = {
        file: {"bytes": (seed / file).stat().st_size, "sha256": sha256(seed / file)}
        for file in (name, weights.name)
    }
    write_manifest(
        seed, arch=trunk.arch, trunk_fingerprint=fingerprint(trunk.state_dict()), resolutions=[],
        interpolation="bilinear",
        onnx={"networks": {str(size): {"file": name, "data": [weights.name]}}, "files": files},
    )  # fmt: skip


def _read_bundle(folder: Path) -> Any:
    answers = {}
    for size, path in bundle_networks(folder).items():
        [answers[size]] = open_session(path).run(None, {"data": np.zeros((1, 3, size, size), np.float32)})
    return (plain(answers),)


def _judge_bundle(original: Any, found: Any, change: Change) -> None:
    """Every file has a checksum in the manifest; the manifest's own words have none."""
    if change.file != "btnet.json" or not set(found[0].items()) <= set(original[0].items()):
        raise WrongAnswerError(f"{change.file} was changed and gave {str(found)[:200]}")


def damage_graph(content: bytes, chance: Random) -> bytes:
    """A number, name, shape or place in the graph changed; the file stays a whole message."""
    model = onnx.ModelProto.FromString(content)
    nodes, tensors = list(model.graph.node), list(model.graph.initializer)
    node, tensor = chance.choice(nodes), chance.choice(tensors)
    numbers = (0, -1, 1, 2, 3, 7, 1 << 16, 1 << 31, 1 << 62, -(1 << 62))
    change = chance.randrange(8)
    if change == 0 and node.attribute:
        attribute = chance.choice(list(node.attribute))
        if attribute.ints:
            attribute.ints[chance.randrange(len(attribute.ints))] = chance.choice(numbers)
        else:
            attribute.i, attribute.f = chance.choice(numbers), chance.choice((0.0, -1.0, 1e30, float("nan")))
    elif change == 1 and tensor.dims:
        tensor.dims[chance.randrange(len(tensor.dims))] = chance.choice(numbers)
    elif change == 2:
        node.input[chance.randrange(len(node.input))] = chance.choice(
            [*chance.choice(nodes).output, tensor.name, "data", ""]
        )
    elif change == 3:
        node.output[0] = chance.choice([chance.choice(nodes).output[0], tensor.name, "data", "x"])
    elif change == 4:
        node.op_type = chance.choice(
            ("Conv", "Add", "Relu", "Identity", "Reshape", "Loop", "If", "Gemm", "Mul", "x")
        )
    elif change == 5:
        tensor.raw_data = damage(tensor.raw_data, chance)
    elif change == 6:
        model.graph.node.remove(node)
    else:
        tensor.data_type = chance.randrange(24)
    return bytes(model.SerializeToString())


def _read_trunk(folder: Path) -> Any:
    [path] = folder.glob("*.onnx")
    found = import_onnx(path, colour_order="RGB", input_mean=127.5, input_std=127.5)
    if not found.difference < 1e-2:
        raise WrongAnswerError(f"differs from onnxruntime by {found.difference}")
    return plain(found.trunk.state_dict())


def _read_backend(folder: Path) -> Any:
    model = load_model(folder, "onnxruntime")
    size = model.canonical_size
    answer = model.embed(np.full((2, size, size, 3), 200, np.uint8), size, mirror=True)
    if answer.shape != (2, model.embedding_size):
        raise WrongAnswerError(f"embeddings of shape {list(answer.shape)}")
    return plain(answer), model.trunk_fingerprint


def _accept(original: Any, found: Any, change: Change) -> None:
    """The file's own weights are what it says; `import_onnx` has compared them with onnxruntime's answer."""


TARGETS = (
    Target(
        "ONNX, imported", _make, _read_trunk, limit="values of weights: ONNX has no checksum",
        judge=_accept, mutators=(damage, damage_graph), memory_mib=512,
    ),
    Target(
        "ONNX, recogniser", _make, _read_backend, limit="values of weights: ONNX has no checksum",
        judge=_accept, mutators=(damage, damage_graph), memory_mib=512,
    ),
    Target(
        "ONNX bundle", _make_bundle, _read_bundle, limit="interpolation, in the manifest", judge=_judge_bundle,
        mutators=(damage, damage_json), memory_mib=512,
    ),
)  # fmt: skip

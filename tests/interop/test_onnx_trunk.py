"""A recognition ONNX becomes a trunk: equal in eval mode, and in train mode what it was before the merging."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper, numpy_helper
from onnxruntime.transformers import float16

from btnet.backbones.backbone import Backbone
from btnet.data.views import normalise
from btnet.interop.onnx import build_graph
from btnet.interop.onnx_trunk import import_onnx
from btnet.interop.restored_norms import restore_norms
from btnet.method.btnet import BTNet
from onnx_models import change_weight, exported_iresnet, iresnet, mobilefacenet, trained

FACES = np.random.default_rng(0).integers(0, 256, (32, 32, 32, 3), dtype=np.uint8)
X = normalise(torch.from_numpy(FACES).permute(0, 3, 1, 2))


def write(model: onnx.ModelProto, path: Path, *, other_names: bool = True) -> Path:
    if other_names:  # no name may be needed
        names: dict[str, str] = {model.graph.input[0].name: "in", model.graph.output[0].name: "out"}
        for tensor in model.graph.initializer:
            tensor.name = names.setdefault(tensor.name, f"t{len(names)}")
        for i, node in enumerate(model.graph.node):
            node.name = f"n{i}"
            for names_of in (node.input, node.output):
                for j, name in enumerate(names_of):
                    names_of[j] = names.setdefault(name, f"t{len(names)}") if name else ""
        model.graph.input[0].name, model.graph.output[0].name = "in", "out"
        del model.graph.value_info[:]
    onnx.save(model, path)
    return path


def embed(trunk: Backbone, *, train: bool = False) -> torch.Tensor:
    copied = copy.deepcopy(trunk).train(train)  # train mode moves the statistics
    with torch.no_grad():
        embedding: torch.Tensor = copied(X)
    return embedding


def error(found: torch.Tensor, expected: torch.Tensor) -> float:
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("make", [iresnet, mobilefacenet])
def test_a_merged_file_gives_the_trunk_back_in_eval_mode_and_in_train_mode(
    make: Callable[[], Backbone], tmp_path: Path
) -> None:
    trunk = trained(make(), X)
    path = write(build_graph(trunk).model, tmp_path / "x.onnx")
    imported = import_onnx(path, FACES)
    assert imported.trunk.arch == trunk.arch
    norms = [n for n, m in trunk.named_modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    left = [n for n in norms if ".0.bn1" in n or ".1.bn1" in n or n == "bn2"] if make is iresnet else []
    assert sorted(imported.restored) == sorted(set(norms) - set(left))
    assert error(embed(imported.trunk), embed(trunk)) < 1e-4

    # The faces are those the statistics came from, so training starts where it would have started.
    assert error(embed(imported.trunk, train=True), embed(trunk, train=True)) < 2e-3
    # An identity BatchNorm passes the first check and not this one: the batch's scale is lost.
    identity = import_onnx(path, FACES).trunk
    for name in imported.restored:
        norm = identity.get_submodule(name)
        assert isinstance(norm, torch.nn.modules.batchnorm._BatchNorm)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        with torch.no_grad():
            scale = norm.weight / (norm.running_var + norm.eps).sqrt()
            norm.bias.copy_(norm.bias - norm.running_mean * scale)
            norm.weight.copy_(scale)
            norm.running_mean.zero_()
            norm.running_var.fill_(1 - norm.eps)
    assert error(embed(identity), embed(trunk)) < 1e-4
    assert error(embed(identity, train=True), embed(trunk, train=True)) > 0.3


@pytest.mark.parametrize("make", [iresnet, mobilefacenet])
def test_an_unmerged_file_gives_every_tensor_back_without_faces(
    make: Callable[[], Backbone], tmp_path: Path
) -> None:
    trunk = trained(make(), X)
    imported = import_onnx(write(build_graph(trunk, fold=False).model, tmp_path / "x.onnx"))
    assert imported.restored == ()
    expected = trunk.state_dict()
    found = imported.trunk.state_dict()
    assert list(found) == list(expected)
    for key in expected:
        if not key.endswith("num_batches_tracked"):
            torch.testing.assert_close(found[key], expected[key], rtol=1e-6, atol=1e-7)


def test_branches_train_from_an_imported_trunk(tmp_path: Path) -> None:
    imported = import_onnx(write(exported_iresnet(fold=True)[1], tmp_path / "x.onnx"), FACES)
    model = BTNet(imported.trunk, (8,)).train()
    model.network(8)(torch.rand(4, 3, 8, 8)).square().sum().backward()
    assert all(p.grad is not None for p in model.learnt_parameters(8).values())


def test_scaling_nodes_product_and_add_flatten_and_another_epsilon_are_read(tmp_path: Path) -> None:
    """The graph as other converters write it: grey levels in, MatMul + Add, slopes [C, 1, 1], Flatten."""
    _, model = exported_iresnet()
    graph = model.graph
    constants = {t.name: t for t in graph.initializer}
    added = [
        numpy_helper.from_array(np.float32(127.5), "centre"),
        numpy_helper.from_array(np.float32(1 / 128), "scale"),
    ]
    nodes = [
        helper.make_node("Sub", ["data", "centre"], ["minus"], "Sub_0"),
        helper.make_node("Mul", ["minus", "scale"], ["scaled"], "Mul_1"),
    ]
    for node in graph.node:
        if node.op_type == "Conv" and node.input[0] == "data":
            node.input[0] = "scaled"
        if node.op_type == "BatchNormalization":
            [epsilon] = [a for a in node.attribute if a.name == "epsilon"]
            epsilon.f = 2e-5
        if node.op_type == "PRelu":
            slopes = numpy_helper.to_array(constants[node.input[1]]).reshape(-1, 1, 1)
            constants[node.input[1]].CopyFrom(numpy_helper.from_array(slopes, node.input[1]))
        if node.op_type == "Reshape":
            nodes.append(helper.make_node("Flatten", [node.input[0]], [node.output[0]], axis=1))
        elif node.op_type == "Gemm":
            weight = numpy_helper.to_array(constants[node.input[1]]).T.copy()
            added.append(numpy_helper.from_array(weight, "fc_t"))
            nodes.append(helper.make_node("MatMul", [node.input[0], "fc_t"], ["product"]))
            nodes.append(helper.make_node("Add", ["product", node.input[2]], [node.output[0]]))
        else:
            nodes.append(node)
    graph.initializer.extend(added)
    copies = [helper.make_node("Identity", ["x"], ["y"])]
    copies[0].CopyFrom(nodes[0])
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
    path = write(model, tmp_path / "x.onnx")
    imported = import_onnx(path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    grey = FACES.transpose(0, 3, 1, 2).astype(np.float32)
    [expected] = session.run(None, {"in": grey})
    assert error(embed(imported.trunk), torch.from_numpy(expected)) < 1e-4


def test_a_file_that_onnxruntime_optimised_is_read(tmp_path: Path) -> None:
    trunk = trained(mobilefacenet(), X)
    path = write(build_graph(trunk, fold=False).model, tmp_path / "x.onnx", other_names=False)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(tmp_path / "y.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    imported = import_onnx(tmp_path / "y.onnx", FACES)
    assert len(imported.restored) > 5
    assert error(embed(imported.trunk), embed(trunk)) < 1e-4
    assert error(embed(imported.trunk, train=True), embed(trunk, train=True)) < 2e-3


def test_half_precision_weights_are_read(tmp_path: Path) -> None:
    trunk = trained(iresnet(), X)
    imported = import_onnx(write(build_graph(trunk, precision="fp16").model, tmp_path / "x.onnx"), FACES)
    assert error(embed(imported.trunk), embed(trunk)) < 2e-2


def test_the_batch_size_of_the_estimation_does_not_matter(tmp_path: Path) -> None:
    first, second = trained(iresnet(), X), trained(iresnet(), X)
    for trunk, batch_size in ((first, 32), (second, 5)):
        restore_norms(trunk, ["bn1", "features"], FACES, batch_size=batch_size)
    for key, value in first.state_dict().items():
        torch.testing.assert_close(second.state_dict()[key], value, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("keep_io_types", [True, False])
@pytest.mark.parametrize("blocked", [None, ["BatchNormalization"], ["PRelu", "Gemm"]])
def test_files_of_onnxruntimes_float16_converter_are_read(
    keep_io_types: bool, blocked: list[str] | None, tmp_path: Path
) -> None:
    """It appends its Casts behind the nodes that need them, which onnx's checker takes for damage."""
    trunk, model = exported_iresnet(fold=blocked is None)
    options = {} if blocked is None else {"op_block_list": blocked}
    half = float16.convert_float_to_float16(model, keep_io_types=keep_io_types, **options)
    imported = import_onnx(write(half, tmp_path / "x.onnx", other_names=False), FACES)
    assert error(embed(imported.trunk), embed(trunk)) < 1e-2


def test_nodes_in_a_circle_are_refused(tmp_path: Path) -> None:
    _, model = exported_iresnet()
    first = next(node for node in model.graph.node if node.op_type == "Conv")
    first.input[0] = next(node for node in model.graph.node if node.op_type == "Add").output[0]
    onnx.save(model, tmp_path / "x.onnx")
    with pytest.raises(ValueError, match=r"x\.onnx: not a whole ONNX file"):
        import_onnx(tmp_path / "x.onnx", FACES)


def foreign(
    path: Path, *, front: list[tuple[str, float]] | None = None, bgr: bool = False
) -> tuple[Backbone, Path]:
    """A file that says nothing of its input, for BGR or with nodes before its first convolution."""
    trunk, model = exported_iresnet()
    del model.metadata_props[:]
    if bgr:
        change_weight(model, "conv1.weight", lambda weight: weight[:, ::-1])
    graph, last, added = model.graph, "data", []
    for i, (kind, constant) in enumerate(front or []):
        graph.initializer.append(numpy_helper.from_array(np.float32(constant), f"front_{i}"))
        added.append(helper.make_node(kind, [last, f"front_{i}"], [f"fronted_{i}"], f"front_{i}"))
        last = f"fronted_{i}"
    for node in graph.node:
        if node.op_type == "Conv" and node.input[0] == "data":
            node.input[0] = last
    for i, node in enumerate(added):
        graph.node.insert(i, node)
    onnx.save(model, path)
    return trunk, path


def test_a_file_that_does_not_say_its_input_asks_for_it(tmp_path: Path) -> None:
    _, path = foreign(tmp_path / "x.onnx")
    with pytest.raises(
        ValueError, match=r"x\.onnx: does not say how its images come; state colour_order .*input_mean"
    ):
        import_onnx(path)
    with pytest.raises(
        ValueError,
        match=r"state colour_order \(`btnet import-onnx --colour-order`\): RGB, as InsightFace's, or BGR$",
    ):
        import_onnx(path, input_mean=127.5, input_std=127.5)
    with pytest.raises(ValueError, match=r"state input_mean, input_std"):
        import_onnx(path, colour_order="RGB", input_mean=127.5)
    with pytest.raises(ValueError, match=r"zero padding stands for grey level 0; .* centred on 127\.5"):
        import_onnx(path, colour_order="RGB", input_mean=0, input_std=255)
    with pytest.raises(ValueError, match="colour order 'bgr', expected RGB or BGR"):
        import_onnx(path, colour_order="bgr")
    # Files of btnet say it themselves.
    assert import_onnx(write(exported_iresnet()[1], tmp_path / "y.onnx")).convention == (
        "RGB", 127.5, 127.5,
    )  # fmt: skip


@pytest.mark.parametrize("colour_order", ["RGB", "BGR"])
@pytest.mark.parametrize(
    ("front", "mean", "std", "is_proven"),
    [
        (None, 127.5, 127.5, False),
        (None, 127.5, 128.0, False),
        ([("Sub", 127.5), ("Mul", 1 / 128)], 0.0, 1.0, True),
        ([("Div", 255.0), ("Sub", 0.5), ("Div", 0.5)], 0.0, 1.0, True),
        ([("Sub", 0.5), ("Div", 0.5)], 0.0, 255.0, True),
        ([("Mul", 2.0)], 127.5, 255.0, False),
    ],
)
def test_stated_and_proven_inputs_give_the_networks_own_embeddings(
    colour_order: str,
    front: list[tuple[str, float]] | None,
    mean: float,
    std: float,
    is_proven: bool,
    tmp_path: Path,
) -> None:
    _, path = foreign(tmp_path / "x.onnx", front=front, bgr=colour_order == "BGR")
    stated = (None, None) if is_proven else (mean, std)
    imported = import_onnx(path, colour_order=colour_order, input_mean=stated[0], input_std=stated[1])
    assert imported.convention == (colour_order, mean, std)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    pixels = FACES if colour_order == "RGB" else FACES[..., ::-1]
    given = ((pixels.astype(np.float32) - mean) / std).transpose(0, 3, 1, 2)
    [expected] = session.run(None, {"data": np.ascontiguousarray(given)})
    assert error(embed(imported.trunk), torch.from_numpy(expected)) < 1e-5
    assert imported.trunk.origin["colour_order"] == colour_order
    if is_proven:
        with pytest.raises(ValueError, match=r"its own nodes centre the input.* leave mean and std out"):
            import_onnx(path, colour_order=colour_order, input_mean=127.5, input_std=127.5)


def test_what_is_no_recognition_model_is_refused_with_the_place(tmp_path: Path) -> None:
    path = write(exported_iresnet(fold=True)[1], tmp_path / "x.onnx")
    with pytest.raises(FileNotFoundError, match=r"z\.onnx: no such ONNX file"):
        import_onnx(tmp_path / "z.onnx")
    with pytest.raises(
        ValueError, match="BatchNorms are merged into convolutions, and restoring them takes faces"
    ):
        import_onnx(path)
    with pytest.raises(ValueError, match="expected at least 2 of 32 x 32 px"):
        import_onnx(path, FACES[:, :16, :16])
    content = path.read_bytes()
    for damaged in (b"no model", content[: len(content) // 2], b""):
        (tmp_path / "y.onnx").write_bytes(damaged)
        with pytest.raises(ValueError, match=r"y\.onnx: not a whole ONNX file"):
            import_onnx(tmp_path / "y.onnx")
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 32, 32])
    y = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 3, 32, 32])
    graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"], "last")], "g", [x], [y])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]), path)
    with pytest.raises(
        ValueError, match=r"x\.onnx: expected an IResNet or a MobileFaceNet, found Relu 'last'"
    ):
        import_onnx(path)
    shrinking = build_graph(BTNet(trained(iresnet(), X), (8,)), resolution=8, input_size=32)
    onnx.save(shrinking.model, path)
    with pytest.raises(ValueError, match=r"x\.onnx: expected .*found "):
        import_onnx(path, FACES)

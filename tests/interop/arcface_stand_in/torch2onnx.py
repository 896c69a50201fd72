"""Stand-in: arcface_torch's exporter to ONNX as a command."""

import argparse

import numpy as np
import onnx
import torch
from backbones import get_model


def convert_onnx(net: torch.nn.Module, path_module: str, output: str, opset: int = 11) -> None:
    img = np.random.randint(0, 255, size=(112, 112, 3), dtype=np.int32)
    img = img.astype(np.float)
    img = (img / 255.0 - 0.5) / 0.5
    img = torch.from_numpy(img.transpose((2, 0, 1))).unsqueeze(0).float()

    net.load_state_dict(torch.load(path_module), strict=True)
    net.eval()
    torch.onnx.export(
        net, img, output, input_names=["data"], keep_initializers_as_inputs=False, opset_version=opset
    )
    model = onnx.load(output)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "None"
    onnx.save(model, output)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("input", type=str)
    parser.add_argument("--output", type=str, default=None)
    parser.add_argument("--network", type=str, default=None)
    args = parser.parse_args()
    convert_onnx(get_model(args.network, dropout=0.0, fp16=False, num_features=512), args.input, args.output)

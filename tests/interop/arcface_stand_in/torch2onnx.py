"""Stand-in: arcface_torch's exporter to ONNX as a command."""

from __future__ import annotations

import argparse

import torch
from backbones import get_model

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("input")
    parser.add_argument("--output")
    parser.add_argument("--network")
    args = parser.parse_args()
    net = get_model(args.network, dropout=0.0, fp16=False, num_features=512)
    net.load_state_dict(torch.load(args.input), strict=True)
    net.eval()
    torch.onnx.export(net, (torch.zeros(1, 3, 112, 112),), args.output, input_names=["data"])

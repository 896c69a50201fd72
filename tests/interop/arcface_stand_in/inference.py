"""Stand-in: one picture through a network, its embedding printed."""

import argparse

import cv2
import torch
from backbones import get_model


@torch.no_grad()
def inference(weight: str, name: str, img: str) -> None:
    face = cv2.cvtColor(cv2.resize(cv2.imread(img), (112, 112)), cv2.COLOR_BGR2RGB)
    batch = torch.from_numpy(face.transpose(2, 0, 1)).unsqueeze(0).float()
    batch.div_(255).sub_(0.5).div_(0.5)
    net = get_model(name, fp16=False)
    net.load_state_dict(torch.load(weight))
    net.eval()
    print(net(batch).numpy())


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--network", type=str, default="r50")
    parser.add_argument("--weight", type=str, default="")
    parser.add_argument("--img", type=str, default=None)
    args = parser.parse_args()
    inference(args.weight, args.network, args.img)

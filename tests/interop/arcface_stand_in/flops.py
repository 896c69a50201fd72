"""Stand-in: the FLOPs of a network by ptflops, which knows layers by their exact class."""

import argparse

from backbones import get_model
from ptflops import get_model_complexity_info

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("n", type=str, default="r100")
    args = parser.parse_args()
    net = get_model(args.n)
    macs, params = get_model_complexity_info(net, (3, 112, 112), as_strings=False, print_per_layer_stat=False)
    print("%.3f GFLOPs" % (macs / 1000**3))
    print("%.3f Mparams" % (params / 1000**2))

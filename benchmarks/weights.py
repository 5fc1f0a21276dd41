"""The weights that all variants share: a random ResNet50 whose BatchNorm is calibrated on the pictures.

    python benchmarks/weights.py --images FOLDER --output FILE

The machine that this was written on cannot download ImageNet's. A random network costs the same to run; uncalibrated,
its values would grow from layer to layer until bfloat16 and float32 had nothing in common; its blocks are nearly the
identity, as a trained network's are, or the same would happen to differences.
"""

import argparse
import sys
from pathlib import Path

import torch
import torchvision

sys.path.insert(0, str(Path(__file__).parents[1] / "entrypoints"))
import backbone
import model


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args()
    torch.manual_seed(0)
    network = torchvision.models.resnet50(weights=None)
    backbone.damp_residual_branches(network, 0.05)  # with 0.2 noise is at noise.py's limit, on one side or the other
    files = sorted(args.images.rglob("*.jpg"), key=lambda path: path.name)[:64]
    images = torch.stack([model.plain_view(model.decode_image(path), 224) for path in files])
    images = model.normalise(images, model.IMAGENET_MEAN, model.IMAGENET_STD)
    model.calibrate_batch_norm(network, images.split(32))
    args.output.parent.mkdir(parents=True, exist_ok=True)
    torch.save(network.state_dict(), args.output)


if __name__ == "__main__":
    main()

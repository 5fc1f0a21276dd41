"""What all peers' programs have in common: their options, and what they say of each step on stdout, a JSON line each.

A peer's file defines a class with `__init__(args)`, `warm_up()`, `train()` (one epoch) and `evaluate()` (accuracy), and
ends with `peer.run(TheClass)`. The driver (run.py) starts it as a process of its own in every round.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import torch


class WithAmp:
    """A peer with `model` and `valid_loader` that can do bfloat16 autocast and channels last."""

    def use_amp(self, amp):
        self.amp = amp
        if amp:
            self.model.to(memory_format=torch.channels_last)

    def forward(self, images):
        if self.amp:
            images = images.contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=self.amp):
            return self.model(images)

    def warm_up(self):
        with torch.inference_mode():
            self.model.eval()
            self.forward(next(iter(self.valid_loader))[0])


def run(build):
    args = parse_args()
    if args.mallopt:
        sys.path.append(str(Path(__file__).parents[1] / "entrypoints"))
        from memory import keep_freed_memory

        keep_freed_memory()
    learner = build(args)
    tell(step="ready")
    if args.warm_up:
        learner.warm_up()
    for _ in range(args.epochs):
        measure("train", learner.train)
        measure("evaluate", learner.evaluate)


def parse_args():
    parser = argparse.ArgumentParser()
    parser.add_argument("--train", required=True)
    parser.add_argument("--valid", required=True)
    parser.add_argument("--weights", required=True, help="a state_dict of torchvision's resnet50")
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--amp", action="store_true", help="bfloat16 and channels last, where the peer can")
    parser.add_argument("--mallopt", action="store_true", help="glibc keeps freed memory")
    parser.add_argument("--warm-up", action="store_true", help="one batch before anything is timed")
    return parser.parse_args()


def measure(step, work):
    started = time.perf_counter()
    result = work()
    tell(step=step, seconds=time.perf_counter() - started, accuracy=result)


def tell(**what):
    print("MEASURED", json.dumps(what), flush=True)

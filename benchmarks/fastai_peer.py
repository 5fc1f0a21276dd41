"""fastai: vision_learner with its own head, frozen, trained with `fit`.

Its body's BatchNorm layers stay trainable (`train_bn`), as they are by default, so every epoch goes backwards through
the whole network, too.
"""

from pathlib import Path

import peer
import torch
from fastai.vision.all import (
    Callback,
    CancelValidException,
    CrossEntropyLossFlat,
    ImageDataLoaders,
    Normalize,
    RandomResizedCrop,
    accuracy,
    imagenet_stats,
    resnet50,
    set_seed,
    vision_learner,
)


class NoValidation(Callback):
    """`fit` evaluates after each epoch; here that is timed by itself."""

    def before_validate(self):
        raise CancelValidException


class Fastai:
    def __init__(self, args):
        set_seed(args.seed)
        train, valid = Path(args.train), Path(args.valid)
        dls = ImageDataLoaders.from_folder(
            train.parent,
            train=train.name,
            valid=valid.name,
            bs=args.batch_size,
            num_workers=args.workers,
            item_tfms=RandomResizedCrop(args.image_size, min_scale=0.08),
            batch_tfms=Normalize.from_stats(*imagenet_stats),
        )
        self.learner = vision_learner(
            dls, resnet50, pretrained=False, normalize=False, loss_func=CrossEntropyLossFlat(), metrics=accuracy
        )
        body = resnet50(weights=None)
        body.load_state_dict(torch.load(args.weights))
        learnt = torch.nn.Sequential(*list(body.children())[:-2]).state_dict()
        self.learner.model[0].load_state_dict(learnt)
        self.learner.freeze()
        self.lr = args.lr

    def warm_up(self):
        with torch.inference_mode():
            self.learner.model.eval()(self.learner.dls.valid.one_batch()[0])

    def train(self):
        with self.learner.no_bar(), self.learner.no_logging():
            self.learner.fit(1, self.lr, cbs=NoValidation())

    def evaluate(self):
        with self.learner.no_bar():
            return float(self.learner.validate()[1])


if __name__ == "__main__":
    peer.run(Fastai)

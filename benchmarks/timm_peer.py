"""timm's train.py in small: its model, datasets, loaders, optimizer and way to freeze. --amp: bfloat16, channels last.

Its default colour jitter is off, so that it does no more than the others. Two workers instead of four, for two cores.
"""

import peer
import torch
from timm import create_model, utils
from timm.data import create_dataset, create_loader
from timm.optim import create_optimizer_v2
from torch import nn


class Timm(peer.WithAmp):
    def __init__(self, args):
        utils.random_seed(args.seed, 0)
        device = torch.device("cpu")
        train_set = create_dataset("", root=args.train, is_training=True)
        valid_set = create_dataset("", root=args.valid, is_training=False)
        options = {"input_size": (3, args.image_size, args.image_size), "batch_size": args.batch_size}
        options |= {"num_workers": args.workers, "device": device, "interpolation": "bilinear"}
        self.train_loader = create_loader(train_set, is_training=True, color_jitter=None, **options)
        self.valid_loader = create_loader(valid_set, is_training=False, crop_pct=0.875, **options)
        self.size = len(valid_set)
        classes = len(train_set.reader.class_to_idx)
        self.model = create_model("resnet50", pretrained=False, num_classes=1000)
        self.model.load_state_dict(torch.load(args.weights))  # timm's names are torchvision's here
        self.model.reset_classifier(classes)
        utils.freeze(self.model, [name for name, _ in self.model.named_children() if name != "fc"])
        self.use_amp(args.amp)
        self.optimizer = create_optimizer_v2(self.model, opt="sgd", lr=args.lr, weight_decay=2e-5, momentum=0.9)
        self.loss_fn = nn.CrossEntropyLoss()

    def train(self):
        self.model.train()
        losses = utils.AverageMeter()
        for images, target in self.train_loader:
            loss = self.loss_fn(self.forward(images).float(), target)
            loss.backward()
            self.optimizer.step()
            self.optimizer.zero_grad()
            losses.update(loss.item(), len(images))

    def evaluate(self):
        self.model.eval()
        correct = 0
        with torch.inference_mode():
            for images, target in self.valid_loader:
                correct += (self.forward(images).argmax(1) == target).sum().item()
        return correct / self.size


if __name__ == "__main__":
    peer.run(Timm)

"""torchvision's references/classification, train.py and presets.py, with the body frozen.

Transforms, loaders with two workers, SGD with momentum, accuracy of each step as there. With --amp: autocast to
bfloat16 (there it is CUDA's float16) and channels last, which its users add.
"""

import peer
import torch
from torch import nn
from torch.utils.data import DataLoader, RandomSampler, SequentialSampler
from torchvision import datasets, models, transforms
from torchvision.transforms import InterpolationMode

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class References(peer.WithAmp):
    def __init__(self, args):
        torch.manual_seed(args.seed)
        size, bilinear = args.image_size, InterpolationMode.BILINEAR
        train_transform = transforms.Compose(
            [
                transforms.RandomResizedCrop(size, interpolation=bilinear, antialias=True),
                transforms.RandomHorizontalFlip(0.5),
                transforms.PILToTensor(),
                transforms.ConvertImageDtype(torch.float),
                transforms.Normalize(mean=MEAN, std=STD),
            ]
        )
        valid_transform = transforms.Compose(
            [
                transforms.Resize(round(size * 256 / 224), interpolation=bilinear, antialias=True),
                transforms.CenterCrop(size),
                transforms.PILToTensor(),
                transforms.ConvertImageDtype(torch.float),
                transforms.Normalize(mean=MEAN, std=STD),
            ]
        )
        train_set = datasets.ImageFolder(args.train, train_transform)
        valid_set = datasets.ImageFolder(args.valid, valid_transform)
        options = {"batch_size": args.batch_size, "num_workers": args.workers}
        self.train_loader = DataLoader(train_set, sampler=RandomSampler(train_set), **options)
        self.valid_loader = DataLoader(valid_set, sampler=SequentialSampler(valid_set), **options)
        self.model = models.get_model("resnet50", weights=None)
        self.model.load_state_dict(torch.load(args.weights))
        self.model.requires_grad_(False)
        self.model.fc = nn.Linear(self.model.fc.in_features, len(train_set.classes))
        self.use_amp(args.amp)
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(self.model.fc.parameters(), lr=args.lr, momentum=0.9, weight_decay=1e-4)

    def train(self):
        self.model.train()
        for images, target in self.train_loader:
            output = self.forward(images)
            loss = self.criterion(output.float(), target)
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            accuracy(output, target)
            loss.item()

    def evaluate(self):
        self.model.eval()
        correct = 0
        with torch.inference_mode():
            for images, target in self.valid_loader:
                output = self.forward(images)
                self.criterion(output.float(), target).item()
                correct += accuracy(output, target)
        return correct / len(self.valid_loader.dataset)


def accuracy(output, target):
    """How many of the batch have their label first; the references take the first five along."""
    with torch.inference_mode():
        top = output.topk(min(5, output.shape[1]), 1).indices
        return (top[:, 0] == target).sum().item()


if __name__ == "__main__":
    peer.run(References)

"""The naive loop: what the original course project does, and what all ratios are taken against.

ImageFolder, PIL, a DataLoader without workers; the body's gradients are off, but it runs in train mode, in float32, in
every epoch, for every image; Adam on a new last layer. Evaluation the same way, in eval mode.
"""

import peer
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, models, transforms

NORMALIZE = transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


class Naive:
    def __init__(self, args):
        torch.manual_seed(args.seed)
        size = args.image_size
        train_transform = transforms.Compose(
            [
                transforms.RandomResizedCrop(size),
                transforms.RandomHorizontalFlip(),
                transforms.ToTensor(),
                NORMALIZE,
            ]
        )
        test_transform = transforms.Compose(
            [
                transforms.Resize(round(size * 256 / 224)),
                transforms.CenterCrop(size),
                transforms.ToTensor(),
                NORMALIZE,
            ]
        )
        train_set = datasets.ImageFolder(args.train, train_transform)
        valid_set = datasets.ImageFolder(args.valid, test_transform)
        self.train_loader = DataLoader(train_set, args.batch_size, shuffle=True)
        self.valid_loader = DataLoader(valid_set, args.batch_size)
        self.model = models.resnet50(weights=None)
        self.model.load_state_dict(torch.load(args.weights))
        for parameter in self.model.parameters():
            parameter.requires_grad = False
        self.model.fc = nn.Linear(self.model.fc.in_features, len(train_set.classes))
        self.criterion = nn.CrossEntropyLoss()
        self.optimizer = torch.optim.Adam(self.model.fc.parameters(), lr=args.lr)

    def warm_up(self):
        with torch.no_grad():
            self.model.eval()(next(iter(self.valid_loader))[0])

    def train(self):
        self.model.train()
        for images, labels in self.train_loader:
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(images), labels)
            loss.backward()
            self.optimizer.step()

    def evaluate(self):
        self.model.eval()
        correct = 0
        with torch.no_grad():
            for images, labels in self.valid_loader:
                correct += (self.model(images).argmax(1) == labels).sum().item()
        return correct / len(self.valid_loader.dataset)


if __name__ == "__main__":
    peer.run(Naive)

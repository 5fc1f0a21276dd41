"""How the part of the network that learns does so: loss, optimizer, schedule, precision. Used by train.py."""

import contextlib
import math

import torch
from engine import native_half
from torch import nn
from torch.nn import functional

WARM_UP = 0.05  # share of all steps; a new head's first gradients would spoil layers that know something
LBFGS_STEPS = 20  # in an epoch, each over all images
# Of float16's losses. From torch's 65536 the first four steps of a ResNet18 overflowed, and were missed in the end.
INIT_SCALE = 4096.0


class CrossEntropyLoss(nn.modules.loss._Loss):  # smdebug takes no other module for a loss
    """Mean cross-entropy over samples. While training, with the class weights and the label smoothing asked for.

    In evaluation plain, so that trials with different ones compare. Weights are normalised by the samples of the whole
    training set, not of the batch: so batches of any size, on any number of processes, add up to the same.
    """

    def __init__(self, label_counts, balanced, label_smoothing):
        super().__init__()
        self.label_smoothing = label_smoothing
        counts = label_counts.double()
        weight = counts.sum() / (len(counts) * counts.clamp_min(1)) if balanced else torch.ones_like(counts)
        self.register_buffer("weight", weight.float())

    def forward(self, logits, labels):
        logits = logits.float()
        if not self.training:
            return functional.cross_entropy(logits, labels)
        losses = functional.cross_entropy(logits, labels, reduction="none", label_smoothing=self.label_smoothing)
        return (losses * self.weight[labels]).mean()


def make_optimizer(parameters, args):
    if args.optimizer == "lbfgs":
        return torch.optim.LBFGS(parameters, lr=1, max_iter=LBFGS_STEPS, line_search_fn="strong_wolfe")
    if args.optimizer == "adamw":
        return torch.optim.AdamW(parameters, lr=args.lr, weight_decay=args.weight_decay)
    return torch.optim.SGD(parameters, lr=args.lr, momentum=0.9, weight_decay=args.weight_decay)


def make_schedule(optimizer, args, steps):
    """Of the learning rate: a cosine to 0 over all `steps`; a linear warm-up where more than the head learns."""
    warm_up = round(steps * WARM_UP) if args.unfreeze != "none" else 0

    def factor(step):
        if args.optimizer == "lbfgs":
            return 1.0
        if step < warm_up:
            return (step + 1) / (warm_up + 1)
        return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - warm_up) / max(1, steps - warm_up))))

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


class Learner:
    """One step: forward, backward, update. In half precision where that pays and was not forbidden."""

    def __init__(self, loss_fn, optimizer, schedule, args, device):
        self.loss_fn, self.optimizer, self.schedule = loss_fn, optimizer, schedule
        self.parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
        self.penalty = args.weight_decay if args.optimizer == "lbfgs" else 0.0
        self.device, self.dtype = device, half_precision(args, device)
        self.scaler = torch.amp.GradScaler(device.type, INIT_SCALE, enabled=self.dtype == torch.float16)

    def autocast(self):
        if self.dtype is None:
            return contextlib.nullcontext()
        return torch.autocast(self.device.type, dtype=self.dtype)

    def step(self, network, batch, labels, timer):
        """Returns the loss before the step."""

        def loss_and_gradients():
            timer.part("forward")
            self.optimizer.zero_grad()
            with self.autocast():
                logits = network(batch)
            loss = self.loss_fn(logits, labels)
            if self.penalty:
                loss = loss + self.penalty / 2 * sum(parameter.square().sum() for parameter in self.parameters)
            timer.part("backward")
            self.scaler.scale(loss).backward()
            timer.part("optimizer")
            return loss

        if isinstance(self.optimizer, torch.optim.LBFGS):
            loss = self.optimizer.step(loss_and_gradients)
        else:
            loss = loss_and_gradients()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        self.schedule.step()
        return loss.item()


def half_precision(args, device):
    """The dtype of autocast, or None. A head alone is too small for it to pay, and L-BFGS, which learns nothing else,
    takes float16's scaled gradients for those of its losses, which are not scaled."""
    head_alone = args.unfreeze == "none" and args.features
    if args.precision == "fp32" or head_alone or (device.type == "cpu" and (args.unfreeze == "none" or args.features)):
        return None
    return native_half()

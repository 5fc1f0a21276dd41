"""The passes over the data, used by train.py: one to learn, one to measure, and the images to calibrate on."""

import copy
import math

import data
import distributed
import interruption
import torch
from artifacts import label_ranks
from model import UserError
from torch.utils.data import Subset

CALIBRATION_IMAGES = 128


def train_one_epoch(network, loader, loss_fn, optimizer, debugger, timer, device):
    """One pass over the loader; returns the mean loss over samples, of all ranks.

    The network stays in eval mode: only its head learns, and that has neither dropout nor BatchNorm.
    """
    debugger.set_mode("TRAIN")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    loss_sum, count = 0.0, 0
    for images, labels in timer.waiting(loader):
        interruption.check()
        images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        optimizer.zero_grad()
        loss = loss_fn(network(images), labels)
        loss.backward()
        distributed.average_gradients(parameters)
        optimizer.step()
        loss_sum += loss.item() * len(labels)  # batch means alone would make the sum depend on the batch size
        count += len(labels)
    return distributed.total(loss_sum) / distributed.total(count)


@torch.no_grad()
def evaluate(network, loader, loss_fn, debugger, timer, device):
    """Returns the mean loss over samples, the accuracy, and the logits (samples, classes) in the dataset's order."""
    interruption.check()
    debugger.set_mode("EVAL")
    loss_sum, logits, labels = 0.0, [], []
    for images, batch_labels in timer.waiting(loader):
        if interruption.heard:
            break
        batch_logits = network(images.to(device, non_blocking=True))
        loss_sum += loss_fn(batch_logits, batch_labels.to(device, non_blocking=True)).item() * len(batch_labels)
        logits.append(batch_logits.cpu())
        labels += batch_labels.tolist()
    interruption.check()
    shares = distributed.gather((logits, labels))
    logits = torch.cat([batch for share, _ in shares for batch in share])
    labels = [label for _, share in shares for label in share]
    accuracy = (label_ranks(logits, labels) == 1).double().mean().item()
    return distributed.total(loss_sum) / len(labels), accuracy, logits


def sample_images(train_set, eval_transform, args, device):
    """A function that gives batches of some training images, as they look in evaluation: the same at each call."""
    plain = copy.copy(train_set)
    plain.transform = eval_transform
    chosen = torch.randperm(len(plain), generator=torch.Generator().manual_seed(args.seed))[:CALIBRATION_IMAGES]
    # Batches of a fixed size, or tuning the batch-size would tune the backbone; never of one image, which may not do.
    loader = data.make_loader(Subset(plain, chosen.tolist()), 32, args.workers, whole=True)
    return lambda: (images.to(device) for images, _ in loader if len(images) > 1)


def check_finite(loss, epoch, args):
    if not math.isfinite(loss):
        raise UserError(f"the loss is {loss} at epoch {epoch}; lower lr (it is {args.lr:g})")

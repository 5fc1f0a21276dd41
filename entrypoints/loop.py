"""The passes over the data, used by train.py: one to learn, one to measure; and when to make no more of them."""

import math

import distributed
import interruption
import torch
from artifacts import label_ranks
from model import UserError

CONVERGED = 1e-4  # relative gain of the training loss in an epoch of L-BFGS, below which there is no more to gain


def train_one_epoch(network, loader, learner, debugger, timer):
    """One pass over the loader; returns the mean loss over samples, of all ranks.

    The network stays in eval mode: BatchNorm keeps its statistics, so that any number of processes learns the same.
    """
    debugger.set_mode("TRAIN")
    learner.loss_fn.train()
    loss_sum, count = 0.0, 0
    for batch, labels in timer.steps(loader, "TRAIN"):
        interruption.check()
        batch, labels = batch.to(learner.device, non_blocking=True), labels.to(learner.device, non_blocking=True)
        # Batch means alone would make the sum depend on the batch size.
        loss_sum += learner.step(network, batch, labels, timer) * len(labels)
        count += len(labels)
    return distributed.total(loss_sum) / distributed.total(count)


@torch.no_grad()
def evaluate(network, loader, learner, debugger, timer):
    """Returns the mean loss over samples, the accuracy, and the logits (samples, classes) in the dataset's order."""
    interruption.check()
    debugger.set_mode("EVAL")
    learner.loss_fn.eval()
    loss_sum, logits, labels = 0.0, [], []
    for batch, batch_labels in timer.steps(loader, "EVAL"):
        if interruption.heard:
            break
        with learner.autocast():
            batch_logits = network(batch.to(learner.device, non_blocking=True)).float()
        batch_loss = learner.loss_fn(batch_logits, batch_labels.to(learner.device, non_blocking=True))
        loss_sum += batch_loss.item() * len(batch_labels)
        logits.append(batch_logits.cpu())
        labels += batch_labels.tolist()
    interruption.check()
    shares = distributed.gather((logits, labels))
    logits = torch.cat([batch for share, _ in shares for batch in share])
    labels = [label for _, share in shares for label in share]
    accuracy = (label_ranks(logits, labels) == 1).double().mean().item()
    return distributed.total(loss_sum) / len(labels), accuracy, logits


def why_stop(history, args):
    """Why there should be no further epoch, or "". Decided by the history alone, so a resumed job decides the same."""
    losses = [row["validation_loss"] for row in history]
    if args.patience and losses and len(losses) - 1 - losses.index(min(losses)) >= args.patience:
        return f"no better validation:loss in {args.patience} epochs"
    if args.optimizer == "lbfgs" and len(history) > 1:
        before, now = history[-2]["train_loss"], history[-1]["train_loss"]
        if before - now < CONVERGED * before:
            return "lbfgs has converged"
    return ""


def check_finite(loss, epoch, args):
    if not math.isfinite(loss):
        raise UserError(f"the loss is {loss} at epoch {epoch}; lower lr (it is {args.lr:g})")

"""Train a new last layer on a frozen torchvision backbone. What SageMaker's training toolkit runs.

By hand, outside any container:

    python train.py --train data/train --valid data/valid --test data/test --epochs 3 --backbone resnet18

In a container the channels and the output folders come from SM_CHANNEL_* and SM_*_DIR, and every hyperparameter of
the job as `--name value`. Channel `pretrained` (optional) is a folder with one state_dict for --weights pretrained.

Writes model.pt, model.json and code/ to the model folder, metrics.json, history.csv and predictions.csv to the output
folder. The log lines of epochs are what SageMaker's metric regexes read, for example `validation:loss=([0-9.eE+-]+)`.
"""

import argparse
import copy
import json
import math
import os
import platform
import shutil
import sys
import time
from pathlib import Path

import data
import model
import torch
import torchvision
from artifacts import label_ranks, prediction_rows, write_csv
from debug import Debugger
from head import standardize_head
from model import UserError, written_beside
from profiler import PhaseTimer
from torch import nn
from torch.utils.data import Subset

CALIBRATION_IMAGES = 128


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.error = fail_usage
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--backbone", default="resnet50", help="any torchvision classifier")
    parser.add_argument("--weights", default="DEFAULT", help="torchvision's name, none, or pretrained (see above)")
    parser.add_argument("--data-fraction", type=float, default=1.0, help="of every class of train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--optimizer", choices=("adamw", "sgd"), default="adamw")
    parser.add_argument("--weight-decay", type=float, default=1e-4)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--workers", type=int, default=-1, help="processes that load images; -1: as many as pay")
    folders = parser.add_argument_group("folders, from the environment in a container")
    for channel in ("train", "valid", "test", "pretrained"):
        folders.add_argument(f"--{channel}", default=os.environ.get(f"SM_CHANNEL_{channel.upper()}"))
    folders.add_argument("--model-dir", default=os.environ.get("SM_MODEL_DIR", "model"))
    folders.add_argument("--output-data-dir", default=os.environ.get("SM_OUTPUT_DATA_DIR", "output"))
    args = parser.parse_args(argv)

    positive = {"batch-size": args.batch_size, "lr": args.lr, "epochs": args.epochs, "image-size": args.image_size}
    for name, value in positive.items():
        if not (value > 0 and math.isfinite(value)):
            raise UserError(f"{name} must be greater than 0, not {value}")
    if not 0 < args.data_fraction <= 1:
        raise UserError(f"data-fraction must be greater than 0 and at most 1, not {args.data_fraction}")
    if not 0 <= args.weight_decay < math.inf:
        raise UserError(f"weight-decay must be 0 or more, not {args.weight_decay}")
    if args.workers < -1:
        raise UserError(f"workers must be -1 (automatic) or more, not {args.workers}")
    if args.seed < 0:
        raise UserError(f"seed must be 0 or more, not {args.seed}")
    model.check_backbone(args.backbone)
    if args.weights == "pretrained" and not args.pretrained:
        raise UserError("weights is pretrained, but there is no channel pretrained with a state_dict")
    if args.weights not in ("none", "pretrained"):
        model.find_weights(args.backbone, args.weights)
    return args


def fail_usage(message):
    raise UserError(message)  # argparse itself would print its usage and exit with a reason nobody sees


def main(args):
    timer = PhaseTimer("initialize")
    torch.manual_seed(args.seed)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    classes = data.find_classes(args.train)

    weights_name, mean, std = args.weights, model.IMAGENET_MEAN, model.IMAGENET_STD
    if args.weights not in ("none", "pretrained"):
        weights = model.find_weights(args.backbone, args.weights)
        weights_name = weights.name  # DEFAULT is an alias
        mean, std = weights.transforms().mean, weights.transforms().std

    eval_transform = model.eval_transform(args.image_size, mean, std)
    train_set = data.LabelledImages(
        args.train,
        "train",
        classes,
        model.train_transform(args.image_size, mean, std),
        fraction=args.data_fraction,
        seed=args.seed,
    )
    valid_set = data.LabelledImages(args.valid, "valid", classes, eval_transform)
    test_set = data.LabelledImages(args.test, "test", classes, eval_transform) if args.test else None
    train_loader = data.make_loader(train_set, args.batch_size, args.workers, seed=args.seed)
    valid_loader = data.make_loader(valid_set, args.batch_size, args.workers)
    test_loader = data.make_loader(test_set, args.batch_size, args.workers) if test_set else None
    counts = {"train": len(train_set), "valid": len(valid_set)} | ({"test": len(test_set)} if test_set else {})
    print(f"{len(classes)} classes, images: {counts}, device {device}", flush=True)

    network, head_name = model.build_network(args.backbone, args.image_size)
    same_head = False
    if args.weights == "none":
        head = model.replace_head(network, head_name, len(classes))
    else:
        if args.weights == "pretrained":
            state = model.read_state_dict(args.pretrained)
        else:
            state = model.download_weights(args.backbone, weights)
        head, same_head = model.load_weights(network, head_name, state, len(classes))
        what = "backbone and head" if same_head else f"backbone only, with a new head for {len(classes)} classes"
        print(f"weights {weights_name}: loaded the {what}", flush=True)
    model.freeze(network, head)
    network.to(device)
    timer.switch("calibrate")
    sample = sample_images(train_set, eval_transform, args, device)
    calibrated = args.weights == "none" and model.calibrate_batch_norm(network, sample())
    if args.weights == "none":
        how = "BatchNorm calibrated on training images" if calibrated else "there is no BatchNorm to calibrate"
        print(f"WARNING: random weights: the backbone has learnt nothing, expect poor accuracy; {how}", flush=True)
    standardized = standardize_head(network, head_name, sample(), keep=same_head)
    timer.switch("initialize")

    loss_fn = nn.CrossEntropyLoss()
    if args.optimizer == "adamw":
        optimizer = torch.optim.AdamW(head.parameters(), lr=args.lr, weight_decay=args.weight_decay)
    else:
        optimizer = torch.optim.SGD(head.parameters(), lr=args.lr, momentum=0.9, weight_decay=args.weight_decay)
    debugger = Debugger(head, loss_fn)

    history, best, best_head = [], None, None
    for epoch in range(1, args.epochs + 1):
        started = time.perf_counter()
        timer.switch("train")
        train_loss = train_one_epoch(network, train_loader, loss_fn, optimizer, debugger, timer, device)
        check_finite(train_loss, epoch, args)
        timer.switch("evaluate")
        valid_loss, valid_accuracy, valid_logits = evaluate(network, valid_loader, loss_fn, debugger, timer, device)
        check_finite(valid_loss, epoch, args)
        row = {
            "epoch": epoch,
            "train_loss": train_loss,
            "validation_loss": valid_loss,
            "validation_accuracy": valid_accuracy,
            "seconds": time.perf_counter() - started,
        }
        history.append(row)
        print(
            f"epoch={epoch} train:loss={train_loss:.6f} validation:loss={valid_loss:.6f} "
            f"validation:accuracy={valid_accuracy:.6f} seconds={row['seconds']:.1f}",
            flush=True,
        )
        if best is None or valid_loss < best["validation_loss"]:
            best, best_logits = row, valid_logits
            best_head = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    head.load_state_dict(best_head)
    # SageMaker takes a metric's last value in the log as its final one. Tuning compares those, so the last one must be
    # that of the model which is saved, not that of the last epoch.
    print(
        f"best epoch={best['epoch']} validation:loss={best['validation_loss']:.6f} "
        f"validation:accuracy={best['validation_accuracy']:.6f}",
        flush=True,
    )

    metrics = {
        "train:loss": best["train_loss"],
        "validation:loss": best["validation_loss"],
        "validation:accuracy": best["validation_accuracy"],
    }
    predicted = ("valid", valid_set, best_logits)
    if test_loader:
        timer.switch("evaluate")
        test_loss, test_accuracy, test_logits = evaluate(network, test_loader, loss_fn, debugger, timer, device)
        ranks = label_ranks(test_logits, [label for _, label in test_set.samples])
        metrics["test:loss"] = test_loss
        metrics["test:accuracy"] = test_accuracy
        metrics["test:top5_accuracy"] = (ranks <= 5).double().mean().item()
        predicted = ("test", test_set, test_logits)
        print(f"test:loss={test_loss:.6f} test:accuracy={test_accuracy:.6f}", flush=True)

    timer.switch("save")
    debugger.close()  # before the model is saved: a hooked module must not get into an artifact
    model.set_submodule(network, head_name, standardized.fold())
    folders = ("train", "valid", "test", "pretrained", "model_dir", "output_data_dir")
    about = {
        "schema_version": 1,
        "classes": classes,
        "backbone": args.backbone,
        "weights": weights_name,
        "calibrated": calibrated,
        "hyperparameters": {n.replace("_", "-"): value for n, value in vars(args).items() if n not in folders},
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
        },
    }
    model_dir, output_dir = Path(args.model_dir), Path(args.output_data_dir)
    (model_dir / "code").mkdir(parents=True, exist_ok=True)
    output_dir.mkdir(parents=True, exist_ok=True)
    normalisation = {"mean": list(mean), "std": list(std)}
    description = about | {"image_size": args.image_size, "normalisation": normalisation, "metrics": metrics}
    model.save_model(model_dir, network, description)
    for name in ("serve.py", "model.py"):
        with written_beside(model_dir / "code" / name) as path:
            shutil.copyfile(Path(__file__).with_name(name), path)
    write_csv(output_dir / "history.csv", history)
    write_csv(output_dir / "predictions.csv", prediction_rows(classes, *predicted))
    timer.switch("save")
    phases = {name: round(seconds, 3) for name, seconds in timer.seconds.items()}
    with written_beside(output_dir / "metrics.json") as path:  # last: who sees it, sees all
        report = {"counts": counts, "best_epoch": best["epoch"], "phases": phases, "debugger": debugger.report()}
        path.write_text(json.dumps(about | metrics | report, indent=2) + "\n")


def train_one_epoch(network, loader, loss_fn, optimizer, debugger, timer, device):
    """One pass over the loader; returns the mean loss over samples.

    The network stays in eval mode: only its head learns, and that has neither dropout nor BatchNorm.
    """
    debugger.set_mode("TRAIN")
    total = 0.0
    for images, labels in timer.waiting(loader):
        images, labels = images.to(device, non_blocking=True), labels.to(device, non_blocking=True)
        optimizer.zero_grad()
        loss = loss_fn(network(images), labels)
        loss.backward()
        optimizer.step()
        total += loss.item() * len(labels)  # batch means alone would make the sum depend on the batch size
    return total / len(loader.dataset)


@torch.no_grad()
def evaluate(network, loader, loss_fn, debugger, timer, device):
    """Returns the mean loss over samples, the accuracy, and the logits (samples, classes) in the loader's order."""
    debugger.set_mode("EVAL")
    total, logits, labels = 0.0, [], []
    for images, batch_labels in timer.waiting(loader):
        batch_logits = network(images.to(device, non_blocking=True))
        total += loss_fn(batch_logits, batch_labels.to(device, non_blocking=True)).item() * len(batch_labels)
        logits.append(batch_logits.cpu())
        labels += batch_labels.tolist()
    logits = torch.cat(logits)
    accuracy = (label_ranks(logits, labels) == 1).double().mean().item()
    return total / len(labels), accuracy, logits


def sample_images(train_set, eval_transform, args, device):
    """A function that gives batches of some training images, as they look in evaluation: the same at each call."""
    plain = copy.copy(train_set)
    plain.transform = eval_transform
    chosen = torch.randperm(len(plain), generator=torch.Generator().manual_seed(args.seed))[:CALIBRATION_IMAGES]
    # Batches of a fixed size, or tuning the batch-size would tune the backbone; never of one image, which may not do.
    loader = data.make_loader(Subset(plain, chosen.tolist()), 32, args.workers)
    return lambda: (images.to(device) for images, _ in loader if len(images) > 1)


def check_finite(loss, epoch, args):
    if not math.isfinite(loss):
        raise UserError(f"the loss is {loss} at epoch {epoch}; lower lr (it is {args.lr:g})")


def write_failure_file(message):
    """SageMaker shows this file as the job's FailureReason; its toolkit writes a command line and a traceback into it
    unless the script was first."""
    folder = os.environ.get("SM_OUTPUT_DIR")
    if folder:
        Path(folder, "failure").write_text(message)


if __name__ == "__main__":
    try:
        main(parse_args())
    except UserError as error:
        # From a loader's process the error comes wrapped in that process's traceback.
        message = str(error).rpartition("UserError: ")[2].strip()
        write_failure_file(message)
        sys.exit(f"error: {message}")
    except Exception as error:
        write_failure_file(f"{type(error).__name__}: {error}")
        raise

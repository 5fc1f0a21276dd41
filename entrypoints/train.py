"""Train a new last layer on a frozen torchvision backbone. What SageMaker's training toolkit runs.

By hand, outside any container:

    python train.py --train data/train --valid data/valid --test data/test --epochs 3 --backbone resnet18

In a container the channels and the output folders come from SM_CHANNEL_* and SM_*_DIR, and every hyperparameter of
the job as `--name value`. Channel `pretrained` (optional) is a folder with one state_dict for --weights pretrained.

Writes model.pt, model.json and code/ to the model folder, metrics.json, history.csv and predictions.csv to the output
folder. The log lines of epochs are what SageMaker's metric regexes read, for example `validation:loss=([0-9.eE+-]+)`.

In several processes: `torchrun --standalone --nproc-per-node 2 train.py ...` (distributed.py). After SIGTERM it saves
the best model so far (interruption.py); started again, it goes on after the last finished epoch (checkpoint.py).
"""

import argparse
import json
import math
import os
import platform
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path

import checkpoint
import data
import distributed
import interruption
import model
import torch
import torchvision
from artifacts import label_ranks, prediction_rows, write_csv
from debug import Debugger
from distributed import say
from head import standardize_head
from loop import check_finite, evaluate, sample_images, train_one_epoch
from model import UserError, written_beside
from profiler import PhaseTimer
from torch import nn


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], allow_abbrev=False)
    parser.error = fail_usage
    parser.add_argument("--batch-size", type=int, default=32, help="images in a step, of each process")
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
    folders.add_argument("--checkpoint-dir", default=checkpoint.find_folder(), help="without one, no checkpoints")
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
    world_size = distributed.world_size()
    torch.manual_seed(args.seed + distributed.rank())  # each rank crops its images in its own way
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    files = data.digest_channels({channel: getattr(args, channel) for channel in ("train", "valid", "test")})
    if len(set(distributed.gather(files))) > 1:
        raise UserError('the hosts have different images: use train.data_distribution = "FullyReplicated"')
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
    say(f"{len(classes)} classes, images: {counts}, device {device}")
    if world_size > 1:
        say(f"{world_size} processes: batches of {world_size} x {args.batch_size} = {world_size * args.batch_size}")

    network, head_name = model.build_network(args.backbone, args.image_size)
    same_head = False
    if args.weights == "none":
        head = model.replace_head(network, head_name, len(classes))
    else:
        if args.weights == "pretrained":
            state = model.read_state_dict(args.pretrained)
        else:
            with distributed.first_of_host_first():
                state = model.download_weights(args.backbone, weights)
        head, same_head = model.load_weights(network, head_name, state, len(classes))
        what = "backbone and head" if same_head else f"backbone only, with a new head for {len(classes)} classes"
        say(f"weights {weights_name}: loaded the {what}")
    model.freeze(network, head)
    network.to(device)
    timer.switch("calibrate")
    sample = sample_images(train_set, eval_transform, args, device)
    calibrated = args.weights == "none" and model.calibrate_batch_norm(network, sample())
    if args.weights == "none":
        how = "BatchNorm calibrated on training images" if calibrated else "there is no BatchNorm to calibrate"
        say(f"WARNING: random weights: the backbone has learnt nothing, expect poor accuracy; {how}")
    standardized = standardize_head(network, head_name, sample(), keep=same_head)
    distributed.copy_from_main(network)
    timer.switch("initialize")

    loss_fn = nn.CrossEntropyLoss()
    if args.optimizer == "adamw":
        optimizer = torch.optim.AdamW(head.parameters(), lr=args.lr, weight_decay=args.weight_decay)
    else:
        optimizer = torch.optim.SGD(head.parameters(), lr=args.lr, momentum=0.9, weight_decay=args.weight_decay)

    folders = ("train", "valid", "test", "pretrained", "model_dir", "output_data_dir", "checkpoint_dir")
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
    decides = {"hyperparameters": about["hyperparameters"], "files": files, "processes": world_size}
    checkpoints = checkpoint.Checkpoint(args.checkpoint_dir, decides, head, optimizer, train_loader.generator)
    history, best = checkpoints.restore()
    debugger = Debugger(head, loss_fn, resumed=bool(history))
    resumed_from = len(history) or None
    interruption.listen()
    with suppress(interruption.Stopped):
        for epoch in range(len(history) + 1, args.epochs + 1):
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
            say(
                f"epoch={epoch} train:loss={train_loss:.6f} validation:loss={valid_loss:.6f} "
                f"validation:accuracy={valid_accuracy:.6f} seconds={row['seconds']:.1f}"
            )
            if best is None or valid_loss < best["row"]["validation_loss"]:
                learnt = {name: tensor.clone() for name, tensor in head.state_dict().items()}
                best = {"row": row, "head": learnt, "logits": valid_logits}
            timer.switch("save")
            checkpoints.save(history, best)
    if best is None:
        sys.exit(128 + signal.SIGTERM)  # stopped within the first epoch: there is nothing to save
    head.load_state_dict(best["head"])
    metrics = {
        "train:loss": best["row"]["train_loss"],
        "validation:loss": best["row"]["validation_loss"],
        "validation:accuracy": best["row"]["validation_accuracy"],
    }
    # SageMaker takes a metric's last value in the log as its final one. Tuning compares those, so the last one must be
    # that of the model which is saved, not that of the last epoch.
    say(
        f"best epoch={best['row']['epoch']} validation:loss={metrics['validation:loss']:.6f} "
        f"validation:accuracy={metrics['validation:accuracy']:.6f}"
    )

    predicted = ("valid", valid_set, best["logits"])
    with suppress(interruption.Stopped):
        if test_set is not None:
            timer.switch("evaluate")
            test_loss, test_accuracy, test_logits = evaluate(network, test_loader, loss_fn, debugger, timer, device)
            ranks = label_ranks(test_logits, [label for _, label in test_set.samples])
            metrics["test:loss"] = test_loss
            metrics["test:accuracy"] = test_accuracy
            metrics["test:top5_accuracy"] = (ranks <= 5).double().mean().item()
            predicted = ("test", test_set, test_logits)
            say(f"test:loss={test_loss:.6f} test:accuracy={test_accuracy:.6f}")

    timer.switch("save")
    stopped = len(history) < args.epochs or (test_set is not None and "test:loss" not in metrics)
    if stopped:
        say(f"SIGTERM: stopped after epoch {len(history)} of {args.epochs}; saving the best model so far")
    debugger.close()  # before the model is saved: a hooked module must not get into an artifact
    model.set_submodule(network, head_name, standardized.fold())
    if not distributed.is_main():
        return
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
    report = {
        "counts": counts,
        "best_epoch": best["row"]["epoch"],
        "world_size": world_size,
        "resumed_from_epoch": resumed_from,
        "stopped": stopped,
        "phases": phases,
        "debugger": debugger.report(),
    }
    with written_beside(output_dir / "metrics.json") as path:  # last: who sees it, sees all
        path.write_text(json.dumps(about | metrics | report, indent=2) + "\n")


def write_failure_file(message):
    """SageMaker shows this file as the job's FailureReason; its toolkit writes a command line and a traceback into it
    unless the script was first."""
    folder = os.environ.get("SM_OUTPUT_DIR")
    if folder:
        Path(folder, "failure").write_text(message)


if __name__ == "__main__":
    try:
        distributed.join()
        main(parse_args())
        distributed.leave()
    except Exception as error:
        mendable = isinstance(error, UserError)
        # From a loader's process the error comes wrapped in that process's traceback.
        message = str(error).rpartition("UserError: ")[2].strip() if mendable else f"{type(error).__name__}: {error}"
        if distributed.is_loss(error):
            message = "another process of the job was killed (out of memory?) or hangs"
        reason, was_here = distributed.first_failure(message)
        write_failure_file(reason)
        if mendable and was_here:
            sys.exit(f"error: {message}")
        if was_here:
            raise
        sys.exit(1)

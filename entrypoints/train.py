"""Train the last layer of a torchvision network, or more of it. What SageMaker's training toolkit runs.

By hand, outside any container:

    python train.py --train data/train --valid data/valid --test data/test --epochs 3 --backbone resnet18

In a container the channels and the output folders come from SM_CHANNEL_* and SM_*_DIR, and every hyperparameter of
the job as `--name value`. Channel `features` (what `--mode extract` made, see extract.py) takes the place of the
images; channel `pretrained` (optional) is a folder with one state_dict for --weights pretrained.

Writes model.pt, model.json and code/ to the model folder, metrics.json, history.csv and predictions.csv to the output
folder; if asked, tensors too (debug.py), system metrics and a timeline (profiler.py). The log lines of epochs are what
SageMaker's metric regexes read, for example `validation:loss=([0-9.eE+-]+)`.

In several processes: `torchrun --standalone --nproc-per-node 2 train.py ...` (distributed.py). After SIGTERM it saves
the best model so far (interruption.py); started again, it goes on after the last finished epoch (checkpoint.py).
"""

import json
import os
import platform
import signal
import sys
import time
from collections import Counter
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import checkpoint
import distributed
import inputs
import interruption
import learning
import memory
import torch
from arguments import FOLDERS, WATCHING, parse_args
from artifacts import label_ranks, prediction_rows, write_csv
from debug import Debugger, Steps
from distributed import say
from head import standardize_head
from loop import check_finite, evaluate, train_one_epoch, why_stop
from model import UserError, set_submodule, written_beside
from profiler import Profiler


def main(args):
    with Profiler(args) as profiler:
        train(args, profiler)


def train(args, profiler):
    timer = profiler.timer
    world_size = distributed.world_size()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    given = inputs.open_features(args, device) if args.features else inputs.open_images(args, device)
    classes, sets, network = given.classes, given.sets, given.network
    train_loader = given.load(sets["train"], args.batch_size, args.seed)
    loaders = {split: given.load(sets[split], args.batch_size) for split in ("valid", "test") if split in sets}
    counts = {split: len(sets[split].samples) for split in ("train", *loaders)}
    say(f"{len(classes)} classes, images: {counts}, device {device}")
    if world_size > 1:
        say(f"{world_size} processes: batches of {world_size} x {args.batch_size} = {world_size * args.batch_size}")

    timer.switch("calibrate")
    standardized = standardize_head(network, given.head_name, given.sample(), keep=given.same_head)
    standardized.layer.requires_grad_(True)
    network.eval()  # for good: BatchNorm keeps its statistics, and dropout is off
    distributed.copy_from_main(network)
    timer.switch("initialize")
    torch.manual_seed(args.seed + distributed.rank())  # each rank crops its images in its own way

    label_counts = torch.bincount(sets["train"].labels, minlength=len(classes))
    loss_fn = learning.CrossEntropyLoss(label_counts, args.class_weights == "balanced", args.label_smoothing).to(device)
    learnt = {name: value for name, value in network.named_parameters() if value.requires_grad}
    optimizer = learning.make_optimizer(list(learnt.values()), args)
    schedule = learning.make_schedule(optimizer, args, args.epochs * len(train_loader))
    learner = learning.Learner(loss_fn, optimizer, schedule, args, device)

    about = {
        "schema_version": 1,
        "classes": classes,
        "backbone": args.backbone,
        "weights": given.about["weights"],
        "calibrated": given.about["calibrated"],
        "hyperparameters": {n.replace("_", "-"): value for n, value in vars(args).items() if n not in FOLDERS},
        "versions": {"python": platform.python_version()} | {name: version(name) for name in ("torch", "torchvision")},
    }
    decisive = {n: value for n, value in about["hyperparameters"].items() if n.replace("-", "_") not in WATCHING}
    decides = {"hyperparameters": decisive, "files": given.files, "processes": world_size}
    parts = {"optimizer": optimizer, "schedule": schedule}
    if learner.scaler.is_enabled():
        parts["scaler"] = learner.scaler
    checkpoints = checkpoint.Checkpoint(args.checkpoint_dir, decides, learnt, parts, train_loader.sampler.generator)
    history, best = checkpoints.restore()
    resumed_from = len(history) or None
    steps = Steps(len(train_loader), len(loaders["valid"]), args.epochs, finished=len(history))
    timer.done.update(steps.done())
    debugger = Debugger(args, standardized.layer, network, loss_fn, steps, learner.scaler)
    parallel = distributed.in_parallel(network, device)
    interruption.listen()
    stop = why_stop(history, args)
    with suppress(interruption.Stopped):
        while len(history) < args.epochs and not stop:
            epoch, started = len(history) + 1, time.perf_counter()
            timer.switch("train")
            train_loss = train_one_epoch(parallel, train_loader, learner, debugger, timer)
            check_finite(train_loss, epoch, args)
            timer.switch("evaluate")
            valid_loss, valid_accuracy, valid_logits = evaluate(network, loaders["valid"], learner, debugger, timer)
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
                state = {name: value.detach().clone() for name, value in learnt.items()}
                best = {"row": row, "learnt": state, "logits": valid_logits}
            timer.switch("checkpoint")
            checkpoints.save(history, best)
            stop = why_stop(history, args)
    if stop:
        say(f"early stop after epoch {len(history)} of {args.epochs}: {stop}")
    if best is None:
        sys.exit(128 + signal.SIGTERM)  # stopped within the first epoch: there is nothing to save
    with torch.no_grad():
        for name, value in best["learnt"].items():
            learnt[name].copy_(value)
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

    predicted = ("valid", sets["valid"], best["logits"])
    with suppress(interruption.Stopped):
        if "test" in loaders:
            timer.switch("evaluate")
            test_loss, test_accuracy, test_logits = evaluate(network, loaders["test"], learner, debugger, timer)
            ranks = label_ranks(test_logits, [label for _, label in sets["test"].samples])
            metrics["test:loss"] = test_loss
            metrics["test:accuracy"] = test_accuracy
            metrics["test:top5_accuracy"] = (ranks <= 5).double().mean().item()
            predicted = ("test", sets["test"], test_logits)
            say(f"test:loss={test_loss:.6f} test:accuracy={test_accuracy:.6f}")

    timer.switch("save")
    stopped = (len(history) < args.epochs and not stop) or ("test" in loaders and "test:loss" not in metrics)
    if stopped:
        say(f"SIGTERM: stopped after epoch {len(history)} of {args.epochs}; saving the best model so far")
    debugger.close()  # before the model is saved: a hooked module must not get into an artifact
    set_submodule(network, given.head_name, standardized.fold())
    if not distributed.is_main():
        return
    output_dir = Path(args.output_data_dir)
    output_dir.mkdir(parents=True, exist_ok=True)
    inputs.save(given, args.model_dir, about | given.about | {"metrics": metrics})
    write_csv(output_dir / "history.csv", history)
    write_csv(output_dir / "predictions.csv", prediction_rows(classes, *predicted))
    profiler.close()
    phases = {name: round(seconds, 3) for name, seconds in timer.seconds.items()}
    report = {
        "counts": counts,
        "label_counts": dict(Counter(classes[label] for _, label in sets["train"].samples)),
        "best_epoch": best["row"]["epoch"],
        "world_size": world_size,
        "resumed_from_epoch": resumed_from,
        "stopped": stopped,
        "stopped_early": stop,
        "features": given.features,
        "phases": phases,
        "debugger": debugger.report(),
        "profiler": profiler.report(),
    }
    with written_beside(output_dir / "metrics.json") as path:  # last: who sees it, sees all
        path.write_text(json.dumps(about | metrics | report, indent=2) + "\n")
    if not stopped:
        checkpoints.finish()


def write_failure_file(message):
    """SageMaker shows this file as the job's FailureReason; its toolkit writes a command line and a traceback into it
    unless the script was first."""
    folder = os.environ.get("SM_OUTPUT_DIR")
    if folder:
        Path(folder, "failure").write_text(message)


if __name__ == "__main__":
    try:
        memory.keep_freed_memory()
        distributed.join()
        args = parse_args()
        if args.mode == "extract":
            import extract

            extract.main(args)
        else:
            main(args)
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

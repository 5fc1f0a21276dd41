"""The hyperparameters and folders of train.py, from the command line and a container's environment."""

import argparse
import math
import os
import re

import checkpoint
from model import UserError, check_backbone
from pretrained import find_weights

# Folders are no hyperparameters, and neither is what train.py is asked to do with them.
FOLDERS = ("train", "valid", "test", "pretrained", "features", "model_dir", "output_data_dir", "checkpoint_dir", "mode")
# What a training saves of itself does not decide what it learns.
WATCHING = ("debug_collections", "debug_save_interval", "debug_include", "debug_reductions")
WATCHING += ("profile_interval", "profile_torch")
COLLECTIONS = ("losses", "gradients", "weights", "biases", "custom")
REDUCTIONS = ("min", "max", "mean", "std", "variance", "sum", "prod", "l1", "l2")  # and each with abs_ before it


def parse_args(argv=None):
    parser = argparse.ArgumentParser(description="Train, or extract features: see train.py.", allow_abbrev=False)
    parser.error = fail_usage
    parser.add_argument("--mode", choices=("train", "extract"), default="train")
    parser.add_argument("--batch-size", type=int, default=32, help="images in a step, of each process")
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--patience", type=int, default=5, help="stop after so many epochs in vain; 0: never")
    parser.add_argument("--backbone", default="resnet50", help="any torchvision classifier")
    parser.add_argument("--weights", default="DEFAULT", help="torchvision's name, none, or pretrained (a channel)")
    parser.add_argument("--unfreeze", choices=("none", "layer4", "all"), default="none", help="what learns, too")
    parser.add_argument("--views", type=int, default=1, help="of each training image; 0: new crops in each epoch")
    parser.add_argument("--data-fraction", type=float, default=1.0, help="of every class of train")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--optimizer", choices=("adamw", "sgd", "lbfgs"), default="adamw")
    parser.add_argument("--weight-decay", type=float, default=1e-4)
    parser.add_argument("--class-weights", choices=("none", "balanced"), default="none")
    parser.add_argument("--label-smoothing", type=float, default=0.0)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--workers", type=int, default=-1, help="processes that load images; -1: as many as pay")
    parser.add_argument("--engine", choices=("auto", "torch", "openvino"), default="auto", help="extracts on a CPU")
    parser.add_argument("--precision", choices=("auto", "fp32"), default="auto")
    watch = parser.add_argument_group("what a training saves of itself: debug.py, profiler.py")
    watch.add_argument("--debug-collections", default="", help=f"of {','.join(COLLECTIONS)}; empty: no hook")
    watch.add_argument("--debug-save-interval", type=int, default=0, help="steps, of all but losses; 0: automatic")
    watch.add_argument("--debug-include", default="", help="regexes of names, for the collection custom")
    watch.add_argument("--debug-reductions", default="", help="instead of whole tensors: mean,abs_max,std,l2,...")
    watch.add_argument("--profile-interval", type=int, default=0, help="ms between samples of the system; 0: none")
    watch.add_argument("--profile-torch", default="", help="torch.profiler over the training steps FIRST-LAST")
    folders = parser.add_argument_group("folders, from the environment in a container")
    for channel in ("train", "valid", "test", "pretrained", "features"):
        folders.add_argument(f"--{channel}", default=os.environ.get(f"SM_CHANNEL_{channel.upper()}"))
    folders.add_argument("--model-dir", default=os.environ.get("SM_MODEL_DIR", "model"))
    folders.add_argument("--output-data-dir", default=os.environ.get("SM_OUTPUT_DATA_DIR", "output"))
    folders.add_argument("--checkpoint-dir", default=checkpoint.find_folder(), help="without one, no checkpoints")
    args = parser.parse_args(argv)
    check_numbers(args)
    check_watching(args)
    check_combinations(args)
    return args


def fail_usage(message):
    raise UserError(message)  # argparse itself would print its usage and exit with a reason nobody sees


def check_numbers(args):
    positive = {"batch-size": args.batch_size, "lr": args.lr, "epochs": args.epochs, "image-size": args.image_size}
    for name, value in positive.items():
        if not (value > 0 and math.isfinite(value)):
            raise UserError(f"{name} must be greater than 0, not {value}")
    if not 0 < args.data_fraction <= 1:
        raise UserError(f"data-fraction must be greater than 0 and at most 1, not {args.data_fraction}")
    if not 0 <= args.weight_decay < math.inf:
        raise UserError(f"weight-decay must be 0 or more, not {args.weight_decay}")
    if not 0 <= args.label_smoothing < 1:
        raise UserError(f"label-smoothing must be at least 0 and less than 1, not {args.label_smoothing}")
    if args.workers < -1:
        raise UserError(f"workers must be -1 (automatic) or more, not {args.workers}")
    for name, value in {"seed": args.seed, "views": args.views, "patience": args.patience}.items():
        if value < 0:
            raise UserError(f"{name} must be 0 or more, not {value}")


def check_watching(args):
    check_list("debug-collections", args.debug_collections, COLLECTIONS)
    check_list("debug-reductions", args.debug_reductions, [*REDUCTIONS, *(f"abs_{name}" for name in REDUCTIONS)])
    if ("custom" in args.debug_collections.split(",")) != bool(args.debug_include):
        raise UserError("debug-include goes with the collection custom: which tensors it saves")
    for pattern in args.debug_include.split(","):
        try:
            re.compile(pattern)
        except re.error as error:
            raise UserError(f"debug-include has {pattern!r}, which is no regular expression: {error}") from error
    if args.debug_save_interval < 0:
        raise UserError(f"debug-save-interval must be 0 (automatic) or more, not {args.debug_save_interval}")
    if args.profile_interval and not 10 <= args.profile_interval <= 60_000:
        raise UserError(f"profile-interval must be 0 (none) or 10 to 60000 milliseconds, not {args.profile_interval}")
    steps = re.fullmatch(r"(\d{1,9})-(\d{1,9})", args.profile_torch)
    if args.profile_torch and not (steps and int(steps[1]) <= int(steps[2])):
        raise UserError(f"profile-torch must be the first and the last step, such as 10-20, not {args.profile_torch!r}")


def check_list(name, value, known):
    unknown = sorted(set(value.split(",")) - set(known)) if value else []
    if unknown:
        raise UserError(f"{name} has {', '.join(map(repr, unknown))}: use some of {', '.join(known)}")


def check_combinations(args):
    if args.optimizer == "lbfgs" and args.mode == "train" and (not args.features or args.unfreeze != "none"):
        raise UserError("optimizer lbfgs learns a head on cached features: it goes over all of them dozens of times")
    if args.features and args.mode == "train":
        return  # their description says what they are of, see features.check_asked
    if args.mode == "extract" and (args.views < 1 or args.unfreeze == "all"):
        raise UserError("there is nothing to cache when every epoch has new crops, or the whole network learns")
    if args.weights == "pretrained" and not args.pretrained:
        raise UserError("weights is pretrained, but there is no channel pretrained with a state_dict")
    check_backbone(args.backbone)
    if args.weights not in ("none", "pretrained"):
        find_weights(args.backbone, args.weights)

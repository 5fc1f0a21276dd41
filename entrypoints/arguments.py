"""The hyperparameters and folders of train.py, from the command line and a container's environment."""

import argparse
import math
import os

import checkpoint
from model import UserError

# Folders are no hyperparameters, and neither is what train.py is asked to do with them.
FOLDERS = ("train", "valid", "test", "pretrained", "features", "model_dir", "output_data_dir", "checkpoint_dir", "mode")


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
    folders = parser.add_argument_group("folders, from the environment in a container")
    for channel in ("train", "valid", "test", "pretrained", "features"):
        folders.add_argument(f"--{channel}", default=os.environ.get(f"SM_CHANNEL_{channel.upper()}"))
    folders.add_argument("--model-dir", default=os.environ.get("SM_MODEL_DIR", "model"))
    folders.add_argument("--output-data-dir", default=os.environ.get("SM_OUTPUT_DATA_DIR", "output"))
    folders.add_argument("--checkpoint-dir", default=checkpoint.find_folder(), help="without one, no checkpoints")
    args = parser.parse_args(argv)
    check_numbers(args)
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


def check_combinations(args):
    if args.optimizer == "lbfgs" and args.mode == "train" and (not args.features or args.unfreeze != "none"):
        raise UserError("optimizer lbfgs learns a head on cached features: it goes over all of them dozens of times")
    if args.features and args.mode == "train":
        return  # their description says what they are of, see features.check_asked
    if args.mode == "extract" and (args.views < 1 or args.unfreeze == "all"):
        raise UserError("there is nothing to cache when every epoch has new crops, or the whole network learns")
    if args.weights == "pretrained" and not args.pretrained:
        raise UserError("weights is pretrained, but there is no channel pretrained with a state_dict")
    import model  # torchvision knows the names; its import is not needed for a training on features

    model.check_backbone(args.backbone)
    if args.weights not in ("none", "pretrained"):
        model.find_weights(args.backbone, args.weights)

"""The hyperparameters of entrypoints/train.py that can be tuned, and of what kind they are."""

# Those of entrypoints/train.py, as they may be tuned.
HYPERPARAMETERS: dict[str, type] = {
    "batch-size": int,
    "lr": float,
    "epochs": int,
    "backbone": str,
    "weights": str,
    "data-fraction": float,
    "seed": int,
    "optimizer": str,
    "weight-decay": float,
    "image-size": int,
    "workers": int,
    "patience": int,
    "class-weights": str,
    "label-smoothing": float,
    "unfreeze": str,
    "views": int,
    "precision": str,
}

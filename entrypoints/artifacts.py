"""The tables that a training job leaves in its output: who was predicted as what. Used by train.py."""

import csv

import torch
from model import written_beside


def label_ranks(logits, labels):
    """At which place (1 = the prediction) each sample's label stands; equal logits stand in the order of classes."""
    order = logits.argsort(dim=1, descending=True, stable=True)
    return (order == torch.tensor(labels)[:, None]).int().argmax(dim=1) + 1


def prediction_rows(classes, split, dataset, logits):
    """One row an image: what was predicted, how sure, and at which place the right class stood."""
    labels = [label for _, label in dataset.samples]
    probabilities = logits.float().softmax(dim=1)
    predictions = logits.argsort(dim=1, descending=True, stable=True)[:, 0].tolist()
    ranks = label_ranks(logits, labels).tolist()
    return [
        {
            "split": split,
            "file": path,
            "label": classes[label],
            "prediction": classes[predictions[i]],
            "probability": f"{probabilities[i, predictions[i]].item():.6f}",
            "label_probability": f"{probabilities[i, label].item():.6f}",
            "label_rank": ranks[i],
        }
        for i, (path, label) in enumerate(dataset.samples)
    ]


def write_csv(path, rows):
    with written_beside(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=rows[0])
        writer.writeheader()
        writer.writerows(rows)

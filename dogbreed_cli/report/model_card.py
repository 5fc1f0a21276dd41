"""MODEL_CARD.md: what a model hub asks to know of a model, with the metadata that Hugging Face's hub reads.

https://huggingface.co/docs/hub/model-cards and, for `model-index`, https://github.com/paperswithcode/model-index
"""

import json
import re
from typing import Any

from dogbreed_cli.report.metrics import Evaluation
from dogbreed_cli.report.report import Report
from dogbreed_cli.report.settings import list_settings
from dogbreed_cli.report.wording import (
    say_cost,
    say_interval,
    say_moment,
    say_number,
    say_percent,
    say_split,
    summarize,
)

LIBRARY = "pytorch"
TASK = "image-classification"
# The hub's name for a folder of images by class.
DATASET = "imagefolder"
TAGS = (TASK, "pytorch", "torchvision", "amazon-sagemaker", "dogbreed")
METRICS = ("accuracy", "precision", "recall", "f1")
WEAKEST = 10


def write_model_card(report: Report) -> str:
    parts = [
        f"---\n{to_yaml(describe(report))}---\n\n# {to_text(report.job.name)}\n",
        "An image classifier, trained with `dogbreed` on Amazon SageMaker's script mode; this card is made from what "
        f"the training job left, on {say_moment(report.created)}.\n",
        "## In short\n\n" + to_table(("", ""), summarize(report)),
        write_evaluation(report),
        write_settings(report),
        "## Limits\n\nThe model knows only the classes below and always names one of them, also for a picture of "
        "something else. It was measured on images from the same source as those it learnt from: expect less on "
        "others. The licence of the model depends on that of the images and of the pretrained weights.\n",
        write_notes(report),
        write_classes(report),
    ]
    return "\n".join(part for part in parts if part)


def describe(report: Report) -> dict[str, Any]:
    """The front matter. Without an evaluation there is no model-index: the hub shows what it says as results."""
    about: dict[str, Any] = {
        "license": "other",
        "library_name": LIBRARY,
        "pipeline_tag": TASK,
        "tags": [*TAGS, *([str(report.training.backbone)] if report.training and report.training.backbone else [])],
        "datasets": [DATASET],
        "metrics": list(METRICS),
    }
    if report.evaluation:
        result = {
            "task": {"type": TASK, "name": "Image Classification"},
            "dataset": {"type": DATASET, "name": DATASET, "split": report.evaluation.split},
            "metrics": list_results(report.evaluation),
        }
        about["model-index"] = [{"name": report.job.name, "results": [result]}]
    return about


def list_results(evaluation: Evaluation) -> list[dict[str, Any]]:
    macro = evaluation.macro
    numbers = [
        ("accuracy", "Accuracy", evaluation.accuracy.value),
        *([("accuracy", "Top-5 accuracy", evaluation.top5.value)] if evaluation.top5 else []),
        ("precision", "Macro precision", macro.precision),
        ("recall", "Macro recall", macro.recall),
        ("f1", "Macro F1", macro.f1),
    ]
    return [{"type": kind, "name": name, "value": value} for kind, name, value in numbers]


def to_yaml(value: Any, indent: str = "") -> str:
    """Mappings and lists of them as YAML blocks; scalars as JSON, which is YAML, so nothing needs to be guessed."""
    lines = []
    for name, item in value.items():
        if isinstance(item, dict):
            lines.append(f"{indent}{name}:\n{to_yaml(item, indent + '  ')}")
        elif isinstance(item, list):
            lines.append(f"{indent}{name}:\n" + "".join(to_yaml_item(one, indent) for one in item))
        else:
            lines.append(f"{indent}{name}: {json.dumps(item)}\n")
    return "".join(lines)


def to_yaml_item(item: Any, indent: str) -> str:
    if not isinstance(item, dict):
        return f"{indent}- {json.dumps(item)}\n"
    block = to_yaml(item, indent + "  ")
    return f"{indent}- {block.removeprefix(indent + '  ')}"


def write_evaluation(report: Report) -> str:
    evaluation = report.evaluation
    if evaluation is None:
        return f"## Evaluation\n\n{to_text(report.missing['evaluation'])}\n"
    rows = [
        ("Accuracy", f"{say_percent(evaluation.accuracy.value)} (95 % interval {say_interval(evaluation.accuracy)})"),
        *([("Top-5 accuracy", say_percent(evaluation.top5.value))] if evaluation.top5 else []),
        ("Macro precision, recall, F1", say_averages(evaluation.macro)),
        ("Weighted precision, recall, F1", say_averages(evaluation.weighted)),
        ("Loss", say_number(evaluation.loss)),
        *(
            [("Expected calibration error", say_percent(evaluation.calibration.error))]
            if evaluation.calibration
            else []
        ),
    ]
    images = f"{evaluation.accuracy.total} {say_split(evaluation.split)} images"
    known = [score for score in evaluation.per_class if score.recall is not None]
    weakest = sorted(known, key=lambda score: (score.recall, score.label))[:WEAKEST]
    return (
        f"## Evaluation\n\nOn {images}.\n\n{to_table(('metric', 'value'), rows)}\n"
        f"The weakest classes:\n\n"
        + to_table(
            ("class", "recall", "images"),
            [(score.label, say_percent(score.recall), str(score.support)) for score in weakest],
        )
    )


def say_averages(averages: Any) -> str:
    return ", ".join(map(say_number, (averages.precision, averages.recall, averages.f1)))


def write_settings(report: Report) -> str:
    settings = list_settings(report)
    tables = [
        ("Training", [*settings["model"], ("cost", say_cost(report.cost))]),
        ("Hyperparameters", settings["hyperparameters"]),
        ("Versions", [*settings["versions"], *settings["image"]]),
    ]
    return "\n".join(f"## {title}\n\n{to_table(('', ''), rows)}" for title, rows in tables if rows)


def write_notes(report: Report) -> str:
    return (
        "## Before you trust these numbers\n\n" + "".join(f"- {to_text(n)}\n" for n in report.notes)
        if report.notes
        else ""
    )


def write_classes(report: Report) -> str:
    classes = report.training.classes if report.training else ()
    return f"## Classes\n\n{', '.join(map(to_text, classes))}\n" if classes else ""


def to_table(head: tuple[str, ...], rows: Any) -> str:
    lines = [head, tuple("---" for _ in head), *(tuple(map(to_text, row)) for row in rows)]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def to_text(text: str) -> str:
    """As Markdown that shows the text itself, whatever a class, a job or a failure is called."""
    return re.sub(r"([\\`*_{}\[\]<>#|&~$])", r"\\\1", " ".join(text.split()))

"""(e) Whether what is fast is as good: test accuracy beside the naive loop's, and bfloat16 beside float32.

Same pictures, weights, seed, learning rate and number of epochs, at 128 pixels to keep the time down. The naive loop
keeps its last epoch, as the course code does, ours its best; naive trains on fresh crops, ours on one view.
"""

import math
import sys

import images
import ours
import process
from table import Row

from dogbreed_cli.breeds import draw_breeds

IMAGE_SIZE = 128
LEAST_AGREEMENT = 0.99
# Of each of six breeds: as `dogbreed demo` draws, but for the tests, of which one would be more than a percent.
DEMO_COUNTS = {"train": 24, "valid": 8, "test": 60}


def measure(work, sizes):
    made = []
    for name, pictures in data_sets(work, sizes).items():
        print(f"accuracy on {name}", file=sys.stderr, flush=True)
        tests = images.count(pictures / "test")
        naive = naive_accuracy(pictures, work, sizes.accuracy_epochs)
        low, high = interval(naive, tests)
        note = f"{tests} test images, 95 % interval {low:.3f}-{high:.3f}, {sizes.accuracy_epochs} epochs"
        made.append(Row(f"test accuracy, {name}", "naive", "", [naive], note))
        answers = {}
        for precision in ("auto", "fp32"):
            folder = work.folder / f"accuracy-{precision}"
            done = ours.extract(pictures, folder, work.weights, "auto", precision, IMAGE_SIZE)
            ours.train(done.folder, folder / "head", work.weights, sizes.accuracy_epochs, IMAGE_SIZE)
            reached = ours.test_accuracy(folder / "head")
            answers[precision] = ours.predictions(folder / "head")
            row = Row(f"test accuracy, {name}", f"ours {done.engine}", "", [reached])
            made.append(row.must(f">= naive's interval ({low:.3f})", reached >= low))
        same = sum(answers["auto"][file] == answers["fp32"][file] for file in answers["fp32"]) / tests
        row = Row(f"test images on which both agree, {name}", "ours bf16 and fp32", "", [same])
        made.append(row.must(f">= {LEAST_AGREEMENT}", same >= LEAST_AGREEMENT))
    return made


def data_sets(work, sizes):
    demo = work.folder / "images" / "demo"
    if not demo.exists():
        draw_breeds(demo, counts=DEMO_COUNTS)
    return {"demo images": demo, "20 classes": images.shapes(work.folder / "images" / "shapes", sizes.shapes)}


def naive_accuracy(pictures, work, epochs):
    """Of its last epoch, on the test images. mallopt changes no number, only the time it takes."""
    done = process.run(
        [process.BENCH_PYTHON, process.HERE / "naive.py", "--train", pictures / "train", "--valid", pictures / "test",
         "--weights", work.weights, "--image-size", IMAGE_SIZE, "--epochs", epochs, "--mallopt"]
    )  # fmt: skip
    return [said["accuracy"] for said in done.steps if said["step"] == "evaluate"][-1]


def interval(share, count):
    """Wilson's 95 % interval of a share of `count`."""
    z = 1.96
    middle = (share + z * z / (2 * count)) / (1 + z * z / count)
    half = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return middle - half, middle + half

"""What a training is told by its loss, its schedule and its pictures: torch's own answers, by another way."""

import random
from array import array

import pytest
from entrypoint_runs import ALONE, ENTRYPOINTS, draw
from forked import run_forked_python
from PIL import Image

from dogbreed_cli.image_reading import flatten

LOSS = """
import torch
from torch.nn import functional
from learning import CrossEntropyLoss
torch.manual_seed(0)
logits, labels = torch.randn(60, 3), torch.tensor([0] * 30 + [1] * 20 + [2] * 10)
counts = torch.bincount(labels)
plain = CrossEntropyLoss(counts, balanced=False, label_smoothing=0.1)
assert torch.allclose(plain(logits, labels), functional.cross_entropy(logits, labels, label_smoothing=0.1))
balanced = CrossEntropyLoss(counts, balanced=True, label_smoothing=0.0)
weight = 60 / (3 * counts)
assert torch.allclose(balanced(logits, labels), functional.cross_entropy(logits, labels, weight=weight))
# Unequal batches, each counted by its samples, add up to the whole: also in two processes.
parts = [(logits[::2], labels[::2]), (logits[1::2][:20], labels[1::2][:20]), (logits[1::2][20:], labels[1::2][20:])]
summed = sum(balanced(*part) * len(part[1]) for part in parts) / 60
assert torch.allclose(summed, balanced(logits, labels))
balanced.eval()
assert torch.allclose(balanced(logits, labels), functional.cross_entropy(logits, labels))
"""

SCHEDULE = """
import types, torch
from learning import make_schedule
def rates(unfreeze, steps=100, **more):
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    schedule = make_schedule(optimizer, types.SimpleNamespace(unfreeze=unfreeze, optimizer="sgd", **more), steps)
    found = []
    for _ in range(steps):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found
head, whole = rates("none"), rates("all")
assert head[0] == 1 and head == sorted(head, reverse=True) and head[-1] < 0.001
assert whole[0] < 0.2 and max(whole) == whole[5] == 1 and whole[:6] == sorted(whole[:6])
assert whole[5:] == sorted(whole[5:], reverse=True)
"""

# What a GPU of before Ampere does (the T4 of ml.g4dn), here by torch's emulation on a CPU.
HALF = """
import tempfile, types, torch
import checkpoint, debug, learning
learning.native_half = lambda: torch.float16
args = types.SimpleNamespace(precision="auto", unfreeze="all", features=None, optimizer="sgd", lr=0.1, weight_decay=0.0,
                             label_smoothing=0.0, epochs=1)
gpu, cpu = torch.device("cuda"), torch.device("cpu")
assert learning.half_precision(args, gpu) == learning.half_precision(args, cpu) == torch.float16
# A head alone stays in float32 on a GPU, too: L-BFGS, which knows of no scale, learns nothing else.
for unfreeze, features, wanted in (("none", "f", None), ("layer4", "f", torch.float16), ("none", None, torch.float16)):
    asked = types.SimpleNamespace(precision="auto", unfreeze=unfreeze, features=features)
    assert learning.half_precision(asked, gpu) == wanted, (unfreeze, features)

torch.manual_seed(0)
images, labels = torch.randn(8, 4), torch.randint(3, (8,))
timer = types.SimpleNamespace(part=lambda name: None)
def make():
    torch.manual_seed(1)
    network = torch.nn.Linear(4, 3)
    optimizer = learning.make_optimizer(list(network.parameters()), args)
    schedule = learning.make_schedule(optimizer, args, 100)
    loss_fn = learning.CrossEntropyLoss(torch.bincount(labels), False, 0.0)
    return network, learning.Learner(loss_fn, optimizer, schedule, args, cpu)
network, learner = make()
seen = []
debugger = debug.Debugger.__new__(debug.Debugger)
debugger.scaler = learner.scaler
network.weight.register_hook(lambda gradient: seen.append((gradient, debugger._unscaled(gradient))))
learner.step(network, images, labels, timer)
other, _ = make()
torch.nn.functional.cross_entropy(other(images), labels).backward()
scaled, unscaled = seen[0]
assert scaled.abs().max() > 100 * unscaled.abs().max()
assert torch.allclose(unscaled, other.weight.grad, atol=1e-2)

# The scale that a training has come to is gone on with.
learner.scaler.update(64.0)
folder = tempfile.TemporaryDirectory()
def keep(network, learner):
    parts = {"optimizer": learner.optimizer, "schedule": learner.schedule, "scaler": learner.scaler}
    generator = torch.Generator()
    return checkpoint.Checkpoint(folder.name, {}, dict(network.named_parameters()), parts, generator)
keep(network, learner).save([{"epoch": 1}], None)
again, later = make()
assert keep(again, later).restore() == ([{"epoch": 1}], None)
assert later.scaler.get_scale() == 64
"""

# Pillow and torchvision's transforms, as the original project has them: its pictures are ours, to the last bit.
PICTURES = """
import sys, torch
from pathlib import Path
from PIL import Image, ImageOps
from torchvision import transforms
import model
naive = transforms.Compose([transforms.Resize(73), transforms.CenterCrop(64), transforms.PILToTensor()])
paths = sorted(Path(sys.argv[1]).rglob("*.*"))
assert len(paths) == 8, paths
for path in paths:
    picture = model.decode_image(path)
    with Image.open(path) as opened:
        wanted = ImageOps.exif_transpose(opened).convert("RGB")
    assert (picture.int() - transforms.PILToTensor()(wanted).int()).abs().max() == 0, path
    view = model.plain_view(picture, 64)
    assert view.shape == (3, 64, 64) and view.dtype == torch.uint8
    again = naive(transforms.ToPILImage()(picture))
    assert (view.int() - again.int()).abs().max() <= 1, path
shades = torch.frombuffer(bytearray(Path(sys.argv[3]).read_bytes()), dtype=torch.uint8).view(256, 256)
assert (model.decode_image(sys.argv[2]) == shades.expand(3, -1, -1)).all()
"""


def run(python, script, *arguments):
    done = run_forked_python(python, "-c", script, *arguments, env=ALONE | {"PYTHONPATH": str(ENTRYPOINTS)})
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("script", [LOSS, SCHEDULE, HALF], ids=["loss", "schedule", "half"])
def test_learning_is_what_torch_says(image_python, script):
    run(image_python, script)


def test_pictures_are_those_of_pillow_and_torchvision(image_python, tmp_path):
    pictures = tmp_path / "pictures"
    pictures.mkdir()
    plain = draw(random.Random(0), "002.Beagle").resize((144, 100))
    rotated = Image.Exif()
    rotated[0x0112] = 6
    plain.save(pictures / "plain.jpg", quality=90)
    plain.save(pictures / "progressive.jpg", progressive=True, subsampling=0)
    plain.save(pictures / "rotated.jpg", exif=rotated)
    plain.convert("L").save(pictures / "grey.jpg")
    plain.convert("CMYK").save(pictures / "printed.jpg")
    plain.save(pictures / "plain.png")
    plain.convert("P").save(pictures / "palette.png")
    plain.save(pictures / "plain.webp")
    # What `upload` looks at of 16 bits is what the network is shown: flatten and decode_with_pil may not share code.
    deep = Image.frombytes("I;16", (256, 256), array("H", range(65_536)).tobytes())
    deep.save(tmp_path / "deep.png")
    (tmp_path / "shades").write_bytes(flatten(deep).tobytes())
    run(image_python, PICTURES, pictures, tmp_path / "deep.png", tmp_path / "shades")

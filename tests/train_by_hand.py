"""Many trainings with train.py outside any toolkit, in one process. Run by test_entrypoints_by_hand.py.

    python train_by_hand.py FOLDER '{"name": [argument, ...], ...}' VALID

Each run writes to FOLDER/<name>. Prints {"name": {"metrics", "log", "error"}, ...} as its last line.
"""

import contextlib
import io
import json
import os
import pathlib
import sys

import data
import engine
import learning
import model
import profiler
import torch
import torchvision
import train

out = pathlib.Path(sys.argv[1])
for classes in (1000, 4):
    torch.manual_seed(classes)
    (out / f"state-{classes}").mkdir()
    torch.save(torchvision.models.resnet18(num_classes=classes).state_dict(), out / f"state-{classes}/weights.pth")

results = {}
# A debugger by itself: its module must be as it was before.
os.environ["SMDEBUG_CONFIG_FILE_PATH"], os.environ["TRAINING_JOB_NAME"] = str(out / "goodhookconfig.json"), "test-job"
head, loss_fn = torch.nn.Linear(3, 2), torch.nn.CrossEntropyLoss()
watched = (train.parse_args(["--backbone", "resnet18", "--weights", "none"]), head, head, loss_fn, train.Steps(1, 1, 1))
debugger = train.Debugger(*watched)
attached = len(head._forward_hooks)
debugger.set_mode("TRAIN")
loss_fn(head(torch.ones(4, 3)), torch.ones(4, dtype=torch.long)).backward()
debugger.close()
left = [head._forward_hooks, head._forward_pre_hooks, loss_fn._forward_hooks, head.weight._backward_hooks or ()]
results["debugger"] = {
    "why": debugger.why,
    "attached": attached,
    "left": sum(map(len, left)),
    "name": "_module_name" in vars(head),
    "job": os.environ.get("TRAINING_JOB_NAME"),
    "again": train.Debugger(*watched).why,
}
del os.environ["SMDEBUG_CONFIG_FILE_PATH"], os.environ["TRAINING_JOB_NAME"]

for name, argv in json.loads(sys.argv[2]).items():
    log, result = io.StringIO(), {}
    if name == "debugger-fails":
        os.environ["SMDEBUG_CONFIG_FILE_PATH"] = str(out / "debughookconfig.json")
    try:
        with contextlib.redirect_stdout(log):
            argv += ["--model-dir", str(out / name / "model"), "--output-data-dir", str(out / name / "output")]
            train.main(train.parse_args(argv))
        result["metrics"] = json.loads((out / name / "output/metrics.json").read_text())
    except model.UserError as error:
        result["error"] = str(error)
    results[name] = result | {"log": log.getvalue()}


def tensors(path):
    return torch.load(path, weights_only=True)


for classes in (1000, 4):
    name = f"pretrained-{classes}"
    before, after = tensors(out / f"state-{classes}/weights.pth"), tensors(out / name / "model/model.pt")
    results[name]["same"] = all(torch.equal(before[n], after[n]) for n in before if not n.startswith("fc."))
    results[name]["head"] = list(after["fc.weight"].shape)

# The loss of an epoch must not depend on the batches it came in: nothing is learnt here, so only the mean differs.
args = train.parse_args(["--train", sys.argv[3], "--backbone", "resnet18", "--image-size", "64", "--weights", "none"])
network, head_name = model.build_network("resnet18", 64)
model.replace_head(network, head_name, 4)
network.requires_grad_(False)
network.fc.requires_grad_(True)
normalised = engine.Normalised(network, model.IMAGENET_MEAN, model.IMAGENET_STD)
classes = sorted(data.list_images(sys.argv[3], "valid"))
images = data.LabelledImages(sys.argv[3], "valid", classes, args)
nothing = train.Debugger(args, network.fc, network, torch.nn.Identity(), train.Steps(1, 1, 1))
timer = profiler.PhaseTimer("train")
plain = learning.CrossEntropyLoss(torch.bincount(images.labels), False, 0.0)
still = torch.optim.SGD(network.fc.parameters(), lr=0)
schedule = torch.optim.lr_scheduler.ConstantLR(still, 1.0)
learner = learning.Learner(plain, still, schedule, args, torch.device("cpu"))
results["sample-mean"] = []
for batch_size in (3, 5, 28):
    loader = data.make_loader(images, batch_size, 0)
    trained = train.train_one_epoch(normalised, loader, learner, nothing, timer)
    results["sample-mean"].append([trained, train.evaluate(normalised, loader, learner, nothing, timer)[0]])
saved, _ = model.load_model(out / "unsteady/model")
saved = engine.Normalised(saved, model.IMAGENET_MEAN, model.IMAGENET_STD)
loader = data.make_loader(images, 28, 0)
results["unsteady"]["saved"] = train.evaluate(saved, loader, learner, nothing, timer)[0]
two = data.make_loader(images, 5, 2)
results["workers"] = sum(len(labels) for _, labels in two)
print(json.dumps(results))

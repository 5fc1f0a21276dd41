"""What `dogbreed check` looks at on this machine: the container image, the weights, the disk."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from dogbreed_cli.cache import cache_folder
from dogbreed_cli.checks import Check, Step, fail, ok, warn
from dogbreed_cli.local.container import study_environment
from dogbreed_cli.local.group import program_environment
from dogbreed_cli.local.home import Home
from dogbreed_cli.local.image import COMPLETE, image_folder, interpreter
from dogbreed_cli.source import find_entrypoints
from dogbreed_cli.weights import kind_of

# Seconds for the interpreter's one run: torch alone takes ten on a cold disk.
PATIENCE = 180
IMAGE_BYTES, LITTLE, TOO_LITTLE = 6e9, 5e9, 5e8
# Run in the image, where the jobs will look for libraries and weights, and only there.
LOOK = """
import json, sys, warnings
from importlib import import_module, metadata
warnings.simplefilter("ignore")
backbone, weights, entrypoints = sys.argv[1:]
found, missing = {"python": sys.version.split()[0]}, {}
needed = ("torch", "torchvision", "safetensors", "smdebug", "sagemaker_training", "sagemaker_pytorch_container")
for name in needed:
    try:
        import_module(name)
        if name == "smdebug":  # as jobs import it: a young protobuf does not matter to them
            sys.path.append(entrypoints)
            import_module("smdebug_shim").load()
    except Exception as error:
        missing[name] = f"{type(error).__name__}: {error}"[:200]
for name in ("torch", "torchvision", "smdebug"):
    if name not in missing:
        found[name] = metadata.version(name)
said = {"found": found, "missing": missing}
if not {"torch", "torchvision"} & missing.keys():
    import os, torch, torchvision
    said["gpus"] = torch.cuda.device_count()
    try:
        url = torchvision.models.get_model_weights(backbone)[weights].url
        path = os.path.join(torch.hub.get_dir(), "checkpoints", url.rpartition("/")[2])
        said["weights"] = {"file": path, "there": os.path.isfile(path)}
    except (KeyError, ValueError) as error:
        said["weights"] = {"unknown": str(error)}
print(json.dumps(said))
"""


def machine_steps(home: Home, python: Path | None, backbone: str, weights: str) -> tuple[Step, ...]:
    """`python` is local.python, `weights` model.weights, a name of torchvision's or a file's or s3:// URI."""
    return (
        Step("image", partial(check_image, python, backbone, weights)),
        Step("disk", partial(check_disk, home, python)),
    )


def check_image(python: Path | None, backbone: str, weights: str) -> Iterator[Check]:
    """The interpreter, what it can import, and the weights in its cache: all three from one run of it."""
    if python is not None:
        python = python.expanduser().absolute()
        if not python.is_file():
            yield fail("image", f"local.python names no interpreter: {python}", "name one, or remove the key")
            return
        name = f"{python} (local.python)"
    elif not (image_folder() / COMPLETE).exists():
        yield warn("image", "the container image is not built yet; the first job builds it (about 5 GB to download)",
                   "to build it now: python -m dogbreed_cli.local.image")  # fmt: skip
        yield warn("libraries", "not checked: no image")
        yield from check_weights(weights, None)
        return
    else:
        python = interpreter()
        name = str(image_folder())
    said, error = ask(python, backbone, weights)
    if said is None:
        yield fail("image", f"{name} does not run: {error}", rebuild(name))
        return
    yield ok("image", f"{name}, Python {said['found'].pop('python')}")
    if said["missing"]:
        first, why = next(iter(said["missing"].items()))
        yield fail("libraries", f"{', '.join(said['missing'])} cannot be imported there; {first}: {why}", rebuild(name))
    else:
        graphics = f"{said['gpus']} GPU" if said["gpus"] else "no GPU: the CPU trains"
        yield ok("libraries", ", ".join(f"{library} {version}" for library, version in said["found"].items())
                 + f"; {graphics}")  # fmt: skip
    yield from check_weights(weights, said.get("weights"))


def rebuild(name: str) -> str:
    if name.endswith("(local.python)"):
        return "install there what dogbreed_cli/local/image.txt lists, or remove local.python"
    return f"remove {name}; the next job builds it anew"


def ask(python: Path, backbone: str, weights: str) -> tuple[dict | None, str]:
    """What LOOK says, run as jobs are: with no more of our environment than they get."""
    try:
        done = subprocess.run(
            [python, "-c", LOOK, backbone, weights, find_entrypoints()],
            env=program_environment(study_environment({}, python, threads=None)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=PATIENCE,
        )
        return json.loads(done.stdout.splitlines()[-1]), ""
    except subprocess.TimeoutExpired:
        return None, f"no answer in {PATIENCE} s"
    except OSError as error:
        return None, str(error)
    except (ValueError, IndexError):
        lines = done.stderr.strip().splitlines()
        return None, lines[-1] if lines else f"exit code {done.returncode}"


def check_weights(weights: str, cached: dict | None) -> Iterator[Check]:
    kind, path = kind_of(weights), Path(weights).expanduser()
    if kind == "none":
        yield ok("weights", "none: training begins with random ones")
    elif kind == "uri":
        yield ok("weights", f"{weights}, which the job reads")
    elif kind == "file":
        there = ok("weights", str(path)) if path.is_file() else None
        yield there or fail("weights", f"there is no file {path}", "name a state_dict, a torchvision name, or none")
    elif cached is None:
        yield warn("weights", f"{weights}: not checked: no image")
    elif "unknown" in cached:
        fix = "name weights that torchvision has for model.backbone, a file, or none"
        yield fail("weights", f"torchvision has no weights {weights} for the backbone: {cached['unknown']}", fix)
    elif cached["there"]:
        yield ok("weights", f"{weights} in {cached['file']}")
    else:
        found = f"{weights} are not in torch's cache: the first job downloads them"
        yield warn("weights", found, 'without a network set model.weights to a file, or to "none"')


def check_disk(home: Home, python: Path | None) -> Iterator[Check]:
    """Where jobs and data go, and where the image goes that is still to be built."""
    is_built = python is not None or (image_folder() / COMPLETE).exists()
    for name, folder, wanted in (("home", home.root, 0.0), ("cache", cache_folder(), 0.0 if is_built else IMAGE_BYTES)):
        there = next(place for place in (folder, *folder.parents) if place.exists())
        if not there.is_dir():
            yield fail(f"disk: {name}", f"{there} is no folder", f"move it, or put DOGBREED_{name.upper()} elsewhere")
            continue
        free = shutil.disk_usage(there).free
        said = f"{free / 1e9:.1f} GB free at {folder}"
        if free < TOO_LITTLE + wanted:
            yield fail(f"disk: {name}", said, f"free some, or put DOGBREED_{name.upper()} elsewhere")
        elif free < LITTLE + wanted:
            yield warn(f"disk: {name}", said, f"free some, or put DOGBREED_{name.upper()} elsewhere")
        else:
            yield ok(f"disk: {name}", said)

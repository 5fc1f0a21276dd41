"""The local container image: a virtual environment of its own with image.txt installed, built once a machine.

It holds what AWS's PyTorch images hold (AWS's toolkits, torch, torchvision, smdebug), none of which is ever imported
by or installed beside the CLI. Several projects share it; another image.txt or Python makes another image.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from dogbreed_cli.cache import cache_folder
from dogbreed_cli.errors import DogbreedError

PINS = Path(__file__).with_name("image.txt")
COMPLETE = ".complete"
FAILED = "the local container image could not be built"
FIX = (
    "check the network and the disk, then run the command again; or set local.python to an interpreter "
    "that has what dogbreed_cli/local/image.txt lists"
)


def image_folder(pins: Path = PINS) -> Path:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    digest = hashlib.sha256(pins.read_bytes()).hexdigest()[:12]
    return cache_folder() / "images" / f"py{version}-{digest}"


def interpreter(pins: Path = PINS) -> Path:
    """The image's Python, which is there once `ensure` has been called."""
    return image_folder(pins) / "bin" / "python"


def ensure(tell: Callable[[str], None], pins: Path = PINS) -> Path:
    """The image's interpreter; builds the image first when it is not there.

    Safe when two commands come at once: the second waits for the first. Raises DogbreedError when the build fails,
    which leaves nothing behind.
    """
    folder = image_folder(pins)
    python = interpreter(pins)
    if (folder / COMPLETE).exists():
        return python
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DogbreedError(FAILED, str(error), FIX) from error
    with folder.with_name(f"{folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            tell("another command is building the local container image; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / COMPLETE).exists():
            tell(f"building the local container image in {folder} (once a machine; about 5 GB on Linux)")
            # The installer holds the lock too: one that outlives a killed command is waited for, not run over.
            build(folder, pins, tell, lock.fileno())
    return python


def build(folder: Path, pins: Path, tell: Callable[[str], None], lock: int) -> None:
    # Built in place, since a virtual environment cannot be moved; the marker, written last, says that it is whole.
    if folder.exists():
        shutil.rmtree(folder)
    try:
        uv(tell, lock, "venv", "--quiet", "--python", sys.executable, str(folder))
        # The list is a full resolution with one override (protobuf, see aws-facts): a resolver would refuse it.
        python = str(folder / "bin" / "python")
        uv(tell, lock, "pip", "install", "--no-deps", "--python", python, "--requirements", str(pins))
        (folder / COMPLETE).touch()
    except BaseException as error:
        shutil.rmtree(folder, ignore_errors=True)
        if isinstance(error, OSError):
            raise DogbreedError(FAILED, str(error), FIX) from error
        raise


def uv(tell: Callable[[str], None], lock: int, *arguments: str) -> None:
    from uv import find_uv_bin

    said = []
    with subprocess.Popen(
        [find_uv_bin(), *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        pass_fds=[lock],
    ) as process:
        for line in process.stderr or ():
            said.append(line.strip())
            if said[-1].startswith(("Downloading", "Downloaded", "Prepared", "Installed")):
                tell(f"  {said[-1]}")
    if process.returncode:
        raise DogbreedError(FAILED, " ".join(said)[-600:], FIX)


if __name__ == "__main__":  # make setup
    ensure(lambda line: print(line, file=sys.stderr))

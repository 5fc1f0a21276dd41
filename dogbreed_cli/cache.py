"""The folder of what is kept between projects: the local container image, AWS's prices. $DOGBREED_CACHE moves it."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path


def cache_folder() -> Path:
    if named := os.environ.get("DOGBREED_CACHE"):
        return Path(named).absolute()
    from platformdirs import user_cache_path

    return user_cache_path("dogbreed").absolute()


def forget_unused(store: Path, days: float) -> None:
    """Remove the files and folders in `store` that were not touched for so long."""
    before = time.time() - days * 86_400
    for path in store.iterdir():
        with contextlib.suppress(FileNotFoundError):  # another command was quicker
            if path.stat().st_mtime < before:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

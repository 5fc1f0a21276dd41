"""The folder of what is kept between projects: the local container image, AWS's prices. $DOGBREED_CACHE moves it."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    from platformdirs import user_cache_path

    return Path(os.environ.get("DOGBREED_CACHE") or user_cache_path("dogbreed")).absolute()

"""What every command gets: the global options, the console, and on demand the Config and the Session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dogbreed_cli.console import Console

if TYPE_CHECKING:
    from dogbreed_cli.config import Config
    from dogbreed_cli.session import Session


@dataclass(frozen=True)
class App:
    console: Console
    config_file: Path | None = None
    flags: Mapping[str, Any] = field(default_factory=dict)

    def config(self, **sections: Mapping[str, Any]) -> Config:
        """The settings, under the command's own options: `app.config(tune={"max_jobs": 4})`. None means not given."""
        from dogbreed_cli.config import load, merge

        given = {name: {k: v for k, v in keys.items() if v is not None} for name, keys in sections.items()}
        return load(self.config_file, merge(self.flags, {name: keys for name, keys in given.items() if keys}))

    def session(self, config: Config) -> Session:
        from dogbreed_cli.session import open_session

        return open_session(config, self.console)

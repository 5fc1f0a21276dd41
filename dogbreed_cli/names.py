"""Names of jobs and endpoints for shell completion: those that the commands met in this folder. No request, no delay.

They lie in the cache folder, for the folders that were used last, and are what SageMaker said last: one that is gone
meanwhile may still be offered, one that somebody else just made is not. They decide nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import click

from dogbreed_cli.cache import cache_folder
from dogbreed_cli.whole_files import written_beside

FOLDERS, NAMES = 50, 100
# SageMaker's member -> what completion calls it.
KINDS = {
    "TrainingJobName": "training job",
    "HyperParameterTuningJobName": "tuning job",
    "EndpointName": "endpoint",
}
Names = dict[str, list[str]]
Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def complete_names(*kinds: str) -> Complete:
    """For an option's or argument's `shell_complete`."""

    def find(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
        known = read().get(str(Path.cwd()), {})
        return [name for kind in kinds for name in known.get(kind, []) if name.startswith(incomplete)]

    return find


def watch(client: Any) -> None:
    """Remember what a SageMaker client lists and creates, forget what it deletes."""

    def see_answer(parsed: Mapping[str, Any], **_: Any) -> None:
        listed = (one for value in parsed.values() if isinstance(value, list) for one in value)
        remember(one for one in listed if isinstance(one, Mapping))

    def see_request(params: Mapping[str, Any], model: Any, **_: Any) -> None:
        if model.name.startswith("Create"):
            remember([params])
        elif model.name.startswith("Delete"):
            remember([], forgotten={str(value) for value in params.values()})

    client.meta.events.register("after-call.sagemaker", see_answer)
    client.meta.events.register("provide-client-params.sagemaker", see_request)


def remember(found: Iterable[Mapping[str, Any]], forgotten: Iterable[str] = ()) -> None:
    """The newest first. A cache that cannot be written is no reason to stop what is being done."""
    new = [(kind, one[member]) for one in found for member, kind in KINDS.items() if isinstance(one.get(member), str)]
    everything, here = read(), str(Path.cwd())
    known = everything.pop(here, {})
    names = {
        kind: [
            name
            for name in dict.fromkeys([*(name for its, name in new if its == kind), *known.get(kind, [])])
            if name not in forgotten
        ][:NAMES]
        for kind in KINDS.values()
    }
    if names == {kind: known.get(kind, []) for kind in KINDS.values()}:
        return
    kept = dict(list(everything.items())[1 - FOLDERS :])
    with suppress(OSError):
        path = cache_folder() / "names.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        with written_beside(path) as beside:
            beside.write_text(json.dumps({**kept, here: names}))


def read() -> dict[str, Names]:
    with suppress(OSError, ValueError):
        found = json.loads((cache_folder() / "names.json").read_bytes())
        return found if isinstance(found, dict) else {}
    return {}

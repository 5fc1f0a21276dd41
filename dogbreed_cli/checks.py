"""The lines of `dogbreed check`, and how they are found: steps that run side by side, each after those it needs."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Literal

from dogbreed_cli import aws_errors
from dogbreed_cli.errors import AccessError, DogbreedError, LimitExceeded, explain_path

# Of the errors that a failed check stands for. The exit code is that of the first kind here that was met.
WEIGHTY = (AccessError.exit_code, LimitExceeded.exit_code, DogbreedError.exit_code)


@dataclass(frozen=True)
class Check:
    """One line: what was found, and what to do about it. `code` is what its failure exits with."""

    name: str
    status: Literal["ok", "warn", "fail"]
    found: str
    fix: str = ""
    code: int = 0


def ok(name: str, found: str) -> Check:
    return Check(name, "ok", found)


def warn(name: str, found: str, fix: str = "") -> Check:
    return Check(name, "warn", found, fix)


def fail(name: str, found: str, fix: str, code: int = DogbreedError.exit_code) -> Check:
    return Check(name, "fail", found, fix, code)


@dataclass(frozen=True)
class Step:
    """Something to look at. It yields one line or several, and is left out where a step that it needs has failed."""

    name: str
    look: Callable[[], Iterable[Check]]
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    checks: tuple[Check, ...]
    blocked_by: str = ""  # the step whose failure makes it useless to look at what needs this one


def run(steps: Iterable[Step], on_progress: Callable[[int, int], None]) -> list[Check]:
    """All lines, in the order of the steps. An error in one step is its own line and hides none of the others.

    A step stands after those it needs. `on_progress` gets the steps that are done and all of them.
    """
    steps = tuple(steps)
    begun: dict[str, Future[Outcome]] = {}
    # As many threads as steps: one that waits for another's end must not keep that one from its beginning.
    with ThreadPoolExecutor(max(len(steps), 1)) as pool:
        for step in steps:
            needed = [begun[name] for name in step.needs]
            begun[step.name] = pool.submit(_take, step, needed)
        for done, _ in enumerate(as_completed(begun.values()), 1):
            on_progress(done, len(steps))
        return [check for future in begun.values() for check in future.result().checks]


def _take(step: Step, needed: list[Future[Outcome]]) -> Outcome:
    for future in needed:
        if blocked_by := future.result().blocked_by:
            return Outcome((warn(step.name, f"not checked: no {blocked_by}"),), blocked_by)
    try:
        checks = tuple(step.look())
    except Exception as error:
        checks = (explain(step, error),)
    return Outcome(checks, step.name if any(check.status == "fail" for check in checks) else "")


def explain(step: Step, error: Exception) -> Check:
    """The line of a step that could not be taken to its end. A bug keeps its traceback."""
    ours = error if isinstance(error, DogbreedError) else aws_errors.explain(error)
    if isinstance(error, OSError) and (refused := explain_path(error)):
        return fail(step.name, refused.what, refused.fix)
    if ours is None:
        traceback.print_exception(error)
        return fail(step.name, f"{type(error).__name__}: {error}", "a bug in dogbreed: report it with the traceback")
    why = f" ({ours.why.strip().rstrip('.')})" if ours.why else ""
    code = ours.exit_code if ours.exit_code in WEIGHTY else DogbreedError.exit_code
    return fail(step.name, f"{ours.what.rstrip('.')}{why}", ours.fix, code)


def exit_code(checks: Iterable[Check]) -> int:
    """0 when nothing failed; else 4 (credentials, permission) before 7 (quota) before 1."""
    codes = {check.code for check in checks if check.status == "fail"}
    return next((code for code in WEIGHTY if code in codes), 0)

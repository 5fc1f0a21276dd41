"""Every error a user can meet, as one tree. `cli.py` is the only place that turns one into text and an exit code.

DogbreedError          1   something went wrong
├── NotFound           1   a job or an endpoint that is not there
├── UsageError         2   an option, a config key or an input that cannot be right
├── Declined           3   the user said no
├── AccessError        4   credentials or a permission are missing
├── JobFailed          5   a job or an endpoint ended Failed or Stopped
├── QualityGateMissed  6   the model is worse than --min-accuracy, or --stop-on-rule fired
├── LimitExceeded      7   a quota or a budget
├── WaitTimedOut       8   we stopped waiting; the job is still running
└── Interrupted      130   Ctrl-C; by SIGTERM 143
"""

import errno
import os
import signal
from types import FrameType


class DogbreedError(Exception):
    """What happened, why, and the next thing to do: each one line of plain text."""

    exit_code = 1
    goes_on = False  # whether what the command waited for runs on

    def __init__(self, what: str, why: str = "", fix: str = ""):
        super().__init__(what)
        self.what, self.why, self.fix = what, why, fix

    def __str__(self) -> str:
        return " ".join(part for part in (self.what, self.why, self.fix) if part)

    @property
    def line(self) -> str:
        """All of it, on one line, for a list of many."""
        return "; ".join(part for part in (self.what, self.why, self.fix) if part)


class NotFound(DogbreedError):
    pass


class UsageError(DogbreedError):
    exit_code = 2


class Declined(DogbreedError):
    exit_code = 3


class AccessError(DogbreedError):
    exit_code = 4


class JobFailed(DogbreedError):
    exit_code = 5


class QualityGateMissed(DogbreedError):
    exit_code = 6


class LimitExceeded(DogbreedError):
    exit_code = 7


class WaitTimedOut(DogbreedError):
    exit_code = 8


class Interrupted(DogbreedError):
    exit_code = 130


# What to do about a path that the system refuses.
MENDS: dict[int | None, str] = {
    errno.EEXIST: "a folder is needed there: move what is in its place, or name another",
    errno.ENOTDIR: "a folder is needed there: move what is in its place, or name another",
    errno.EISDIR: "a file is needed there: name one",
    errno.ENOENT: "make it, or name another path",
    errno.EACCES: "let this user read and write it, or name another path",
    errno.EPERM: "let this user read and write it, or name another path",
    errno.EROFS: "nothing can be written there: name another path, or run it elsewhere",
}


def explain_path(error: OSError) -> DogbreedError | None:
    """What the system refused to do with a file or a folder; None for an error that is of no path."""
    path = os.fspath(error.filename) if isinstance(error.filename, str | os.PathLike) else ""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):  # stdout's, too, which has no path
        what = f"{error.strerror}: {path}" if path else str(error.strerror)
        return DogbreedError(what, "what was to be written has no room", "make room and run it again")
    if not path:
        return None
    return DogbreedError(f"{error.strerror}: {path}", type(error).__name__, MENDS.get(error.errno, "mend that path"))


class Terminated(KeyboardInterrupt):
    """SIGTERM, which ends whatever goes on just as Ctrl-C does."""


# The interrupts that came. One that meets other people's code may come out of it as an error of theirs: Python makes a
# RuntimeError of what `__set_name__` raises, and a class in the midst of an import has one.
RECEIVED: list[KeyboardInterrupt] = []


def raise_interrupt(number: int, frame: FrameType | None) -> None:
    """The first Ctrl-C or SIGTERM: what goes on is ended in order. A second one ends the process at once."""
    signal.signal(number, signal.SIG_DFL)
    RECEIVED.append(Terminated() if number == signal.SIGTERM else KeyboardInterrupt())
    raise RECEIVED[-1]


def interrupted(by: BaseException, what: str, fix: str = "") -> Interrupted:
    """The error of a command that was told to end."""
    error = Interrupted(what, "SIGTERM" if isinstance(by, Terminated) else "Ctrl-C", fix)
    if isinstance(by, Terminated):
        error.exit_code = 128 + signal.SIGTERM
    return error

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
└── Interrupted      130   Ctrl-C
"""


class DogbreedError(Exception):
    """What happened, why, and the next thing to do: each one line of plain text."""

    exit_code = 1

    def __init__(self, what: str, why: str = "", fix: str = ""):
        super().__init__(what)
        self.what, self.why, self.fix = what, why, fix

    def __str__(self) -> str:
        return " ".join(part for part in (self.what, self.why, self.fix) if part)


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

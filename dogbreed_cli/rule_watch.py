"""`train --stop-on-rule`: rules that judge the epochs as the job's log tells them, while somebody follows it.

AWS's own rules stop a job from a container beside it; AWS has closed that to new customers.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from dogbreed_cli.report.artifacts import Epoch
    from dogbreed_cli.report.rules import Observed, Verdict

# Those that need nothing but losses; the others read tensors, which are in S3 when the job has ended.
RULES = ("LossNotDecreasing", "Overfit", "Overtraining")
NUMBER = r"=([-+.\deEinfa]+)"
EPOCH = re.compile(
    rf"^epoch=(\d+) train:loss{NUMBER} validation:loss{NUMBER} validation:accuracy{NUMBER} seconds{NUMBER}$"
)


def rule_option(command: Callable[..., object]) -> Callable[..., object]:
    help = "Stop the job as soon as this rule has fired (exit code 6); may be given several times."
    return click.option("--stop-on-rule", multiple=True, type=click.Choice(RULES), help=help)(command)


class RuleWatch:
    """The epochs so far; `fired` is the first verdict that stops the job."""

    def __init__(self, rules: tuple[str, ...]):
        self.rules = rules
        self.epochs: list[Epoch] = []
        self.fired: Verdict | None = None

    def read(self, line: str) -> Verdict | None:
        """A line of the log. The verdict with which this line made a rule fire."""
        from dogbreed_cli.report.artifacts import Epoch
        from dogbreed_cli.report.rules import evaluate_rule

        found = EPOCH.match(line.strip())
        if not found or not self.rules or self.fired:
            return None
        self.epochs.append(Epoch(int(found[1]), *(float(number) for number in found.groups()[1:])))
        verdicts = (evaluate_rule(rule, self.observe()) for rule in self.rules)
        self.fired = next((verdict for verdict in verdicts if verdict.state == "triggered"), None)
        return self.fired

    def observe(self) -> Observed:
        from dogbreed_cli.report.profile import Profile
        from dogbreed_cli.report.rules import Observed
        from dogbreed_cli.report.tensors import Tensors

        why = "the job is still running"
        return Observed(tuple(self.epochs), Tensors({}, {}, why), Profile((), (), why, ()), {}, False, None, {})

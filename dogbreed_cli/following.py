"""Following a job: asking again and again, with patience; of a training job its phases and what its script says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from dogbreed_cli import jobs
from dogbreed_cli.console import human_time
from dogbreed_cli.costs import say_usd
from dogbreed_cli.errors import WaitTimedOut
from dogbreed_cli.pricing import PriceList
from dogbreed_cli.spending import spend_now, spend_on_training

if TYPE_CHECKING:
    from dogbreed_cli.context import App
    from dogbreed_cli.rule_watch import RuleWatch
    from dogbreed_cli.session import Session
    from dogbreed_cli.waiting import Patience

# The toolkit prints its whole environment first; the script's own words begin after this line and the command.
SCRIPT_STARTS = "Invoking script with the following command"
TOOLKIT_LINE = "sagemaker-training-toolkit"


def poll(describe: Callable[[], Mapping[str, Any]], status: str, seconds: float, patience: Patience) -> Iterator[Any]:
    """Describe again and again, yielding each answer, the last one with an ended status. Raises WaitTimedOut."""
    while True:
        answer = describe()
        yield answer
        if answer[status] in jobs.ENDED:
            return
        if patience.is_over:
            raise WaitTimedOut(f"still {answer[status]} after {patience.seconds:g} s", "the job goes on")
        time.sleep(seconds)


def follow(
    app: App,
    session: Session,
    name: str,
    patience: Patience,
    prices: PriceList | None,
    watch: RuleWatch | None = None,
) -> dict[str, Any]:
    """Phases and the script's own lines as they come; the toolkit's too with -v. Stops a job on which a rule fires."""
    client, positions, told = session.client("sagemaker"), dict[str, str](), 0
    say = script_lines(app)
    description: dict[str, Any] = {}

    def describe() -> dict[str, Any]:
        return jobs.describe_training_job(client, name)

    for description in poll(describe, "TrainingJobStatus", session.poll_seconds, patience):
        # The log first: what was said before the last transition belongs above it.
        for line in jobs.read_log(session.client("logs"), f"{name}/", positions):
            say(line)
            if watch and (verdict := watch.read(line)):
                app.console.warn(f"{verdict.rule}: {verdict.evidence} Stopping {name}.")
                jobs.stop_training_job(client, name)
        transitions = description["SecondaryStatusTransitions"]
        for transition in transitions[told:]:
            spent = f", so far {say_spent(description, prices)}" if prices else ""
            after = (transition["StartTime"] - description["CreationTime"]).total_seconds()
            app.console.note(f"[{human_time(after)}] {transition['Status']}{spent}")
        told = len(transitions)
    return description


def say_spent(description: dict[str, Any], prices: PriceList) -> str:
    spending = spend_now(prices, description, spend_on_training)
    return f"{say_usd(spending.usd_so_far)} ({spending.price_source})"


def script_lines(app: App) -> Callable[[str], None]:
    """Notes the lines that the training script itself printed; everything else is a detail."""
    state = "toolkit"

    def say(line: str) -> None:
        nonlocal state
        ours = state == "script" and TOOLKIT_LINE not in line and line.strip()
        (app.console.note if ours else app.console.detail)(line)
        if SCRIPT_STARTS in line:
            state = "command"
        elif state == "command" and line.strip():
            state = "script"

    return say

"""The rules as a table has them: our verdict on each, and what AWS's own rule says, where an account still has it."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dogbreed_cli.report.wording import NOTHING, count_noun

if TYPE_CHECKING:
    from dogbreed_cli.report.aws_report import AwsRule
    from dogbreed_cli.report.report import Report

ORDER = ("triggered", "not triggered", "not evaluated")
ONLY_AWS = "only AWS"


@dataclass(frozen=True)
class RuleLine:
    """`aws` is empty where AWS says nothing of the rule; `state` is one of ORDER, or ONLY_AWS."""

    rule: str
    kind: str
    state: str
    evidence: str
    threshold: str
    advice: str
    aws: str


def line_up(report: "Report") -> tuple[RuleLine, ...]:
    """Those that fired first; last those that only AWS evaluated (a custom rule, ProfilerReport as a whole)."""
    said = collect_aws(report)
    lines = [
        RuleLine(
            verdict.rule,
            verdict.kind,
            verdict.state,
            verdict.evidence,
            verdict.threshold,
            verdict.advice,
            said.pop(verdict.rule, ""),
        )
        for verdict in sorted(report.rules, key=lambda verdict: ORDER.index(verdict.state))
    ]
    return (*lines, *(RuleLine(rule, NOTHING, ONLY_AWS, NOTHING, "", "", aws) for rule, aws in said.items()))


def collect_aws(report: "Report") -> dict[str, str]:
    """What AWS says, by rule: the status of its rule job, and what its ProfilerReport counted."""
    said: dict[str, list[str]] = {}
    for status in report.job.rule_statuses:
        details = f" ({status.details})" if status.details else ""
        said.setdefault(status.rule, []).append(status.status + details)
    for rule in report.aws_rules:
        said.setdefault(rule.name, []).append(say_counts(rule))
    return {rule: "; ".join(texts) for rule, texts in said.items()}


def say_counts(rule: "AwsRule") -> str:
    if rule.triggered is None:
        return "its report does not say whether it fired"
    of = f" in {count_noun(rule.datapoints, 'datapoint')}" if rule.datapoints is not None else ""
    told = f"fired {count_noun(rule.rule_triggered or 0, 'time')}{of}" if rule.triggered else f"did not fire{of}"
    return f"{told}; its report lacks {', '.join(rule.missing)}" if rule.missing else told

"""The verdicts of AWS's own rules, where an account still has Debugger: the JSON files of its ProfilerReport.

rule-output/ProfilerReport-<number>/profiler-output/profiler-reports/<Rule>.json
{"RuleTriggered": 3, "Violations": 3, "Details": {...}, "Datapoints": 1200, "RuleParameters": "threshold:50\\n..."}
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

# AWS's field and ours.
FIELDS = {
    "RuleTriggered": "rule_triggered",
    "Violations": "violations",
    "Details": "details",
    "Datapoints": "datapoints",
    "RuleParameters": "rule_parameters",
}
COUNTS = ("RuleTriggered", "Violations", "Datapoints")


@dataclass(frozen=True)
class AwsRule:
    """One rule's file. A field is None where the file lacks it, and then named in `missing`; `more` are unknown ones.

    `rule_triggered` counts how often the rule fired. `problem` says why a file could not be read.
    """

    name: str
    path: str
    rule_triggered: int | None = None
    violations: int | None = None
    details: Any = None
    datapoints: int | None = None
    rule_parameters: Any = None
    more: Mapping[str, Any] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    problem: str | None = None

    @property
    def triggered(self) -> bool | None:
        """None where the file does not say."""
        return None if self.rule_triggered is None else self.rule_triggered > 0

    @property
    def parameters(self) -> dict[str, str]:
        """AWS writes them as lines `name:value`."""
        if isinstance(self.rule_parameters, Mapping):
            return {str(name): str(value) for name, value in self.rule_parameters.items()}
        lines = (line.partition(":") for line in str(self.rule_parameters or "").splitlines())
        return {name.strip(): value.strip() for name, colon, value in lines if colon}


def read_aws_report(folder: Path) -> tuple[AwsRule, ...]:
    """Every rule's file below `folder`, a job's rule-output; none where AWS evaluated no rule."""
    return tuple(read_rule(path, folder) for path in sorted(folder.glob("**/profiler-reports/*.json")))


def read_rule(path: Path, folder: Path) -> AwsRule:
    where = str(path.relative_to(folder))
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        return AwsRule(path.stem, where, missing=tuple(FIELDS), problem=f"{path.name} cannot be read ({error}).")
    if not isinstance(document, dict):
        return AwsRule(path.stem, where, missing=tuple(FIELDS), problem=f"{path.name} does not hold a JSON object.")
    wrong = [name for name in COUNTS if not isinstance(document.get(name, 0), int | float)]
    return AwsRule(
        name=path.stem,
        path=where,
        **{ours: document.get(name) for name, ours in FIELDS.items() if name not in wrong},
        more={name: value for name, value in document.items() if name not in FIELDS},
        missing=tuple(name for name in FIELDS if name not in document),
        problem=f"{path.name}: {', '.join(wrong)} is not a number and was left out." if wrong else None,
    )

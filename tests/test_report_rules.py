"""Rules in the report: on the page, in the terminal, as AWS's JSON files, and beside what AWS's own rules say."""

import json

import pytest
from report_artifacts import build_full, describe_job, render, write_artifacts
from report_watched import build_watched, rule_status, write_aws_report, write_profile, write_tensors

from dogbreed_cli import report

FIELDS = {"RuleTriggered", "Violations", "Details", "Datapoints", "RuleParameters"}


@pytest.fixture
def overfitted(tmp_path):
    """The validation loss goes up while that of training goes down."""
    folder = write_artifacts(tmp_path / "a")
    lines = ["epoch,train_loss,validation_loss,validation_accuracy,seconds"]
    lines += [f"{n},{1 / n},{0.5 + n / 5},{0.5},1" for n in range(1, 13)]
    (folder / "history.csv").write_text("\n".join(lines) + "\n")
    write_profile(folder / "profiler-output")
    write_tensors(folder / "debug-output")
    return folder


def test_a_rule_that_fired_says_why_and_what_to_do(overfitted, tmp_path):
    built = report.build(overfitted, describe_job())
    verdict = next(verdict for verdict in built.rules if verdict.rule == "Overfit")
    assert verdict.state == "triggered"
    page = render(built, tmp_path / "out")
    shown = " ".join(page.sections["rules"].split())
    for text in (verdict.evidence, verdict.threshold, verdict.advice):
        assert " ".join(text.split()) in shown
    assert "Overfit" in dict(report.summarize(built))["Rules"]
    assert dict(report.summarize(built))["Rules"] in " ".join(page.sections["result"].split())


def test_every_rule_has_a_verdict_and_no_data_is_never_a_good_one(tmp_path):
    built = report.build(tmp_path / "nothing", describe_job(TrainingJobStatus="Failed"))
    assert {verdict.state for verdict in built.rules} == {"not evaluated"}
    assert len(built.rules) == 20
    page = render(built, tmp_path / "out")
    for verdict in built.rules:
        assert verdict.rule in page.sections["rules"]
    assert "none fired; 0 did not, 20 not evaluated" in dict(report.summarize(built))["Rules"]


def test_one_file_for_each_rule_as_aws_has_them(tmp_path):
    built = build_watched(tmp_path)
    paths = report.write(built, tmp_path / "out")
    states = {verdict.rule: verdict for verdict in built.rules}
    files = {name: path for name, path in paths.items() if "-reports/" in name}
    assert set(files) == {f"{verdict.kind}-reports/{verdict.rule}.json" for verdict in built.rules}
    for path in files.values():
        document = json.loads(path.read_text(), parse_constant=pytest.fail)
        assert set(document) == FIELDS
        assert document["RuleTriggered"] == (states[path.stem].state == "triggered")
        assert document["Datapoints"] == states[path.stem].datapoints
    assert states["StepOutlier"].state != "not evaluated"
    assert states["LowGPUUtilization"].state == "not evaluated"


def test_aws_rules_stand_beside_ours(overfitted, tmp_path):
    write_aws_report(overfitted)
    statuses = [rule_status("Overfit", "IssuesFound", "RuleEvaluationConditionMet"), rule_status("Own", "Error")]
    job = describe_job(
        DebugRuleEvaluationStatuses=statuses,
        ProfilerRuleEvaluationStatuses=[rule_status("ProfilerReport", "NoIssuesFound")],
    )
    built = report.build(overfitted, job)
    page = render(built, tmp_path / "out")
    shown = " ".join(page.sections["rules"].split())
    assert "IssuesFound (RuleEvaluationConditionMet)" in shown
    assert "fired 3 times in 1,200 datapoints" in shown
    assert "did not fire in 60 datapoints; its report lacks Violations, Details, RuleParameters" in shown
    assert "Own only AWS" in shown and "Error" in shown and "NoIssuesFound" in shown
    document = report.to_json(built)
    outlier = next(rule for rule in document["aws_rules"] if rule["name"] == "StepOutlier")
    assert outlier["more"] == {"Newest": 1}
    assert document["job"]["rule_statuses"][1] == {"rule": "Own", "status": "Error", "details": ""}


def test_without_aws_rules_the_page_says_so(tmp_path):
    page = render(build_full(tmp_path), tmp_path / "out")
    assert "AWS's own rules were not asked" in page.sections["rules"]

"""What a finished training job says about itself: its artifacts in, numbers and one offline HTML page out.

    report = build(artifacts, training_job, tuning_job, trials, rate, tags)  # every number, computed once
    report = illustrate(report, images)                                # pictures of the worst mistakes
    to_json(report)                                                    # the same numbers for `--json` and metrics.json
    summarize(report)                                                  # the same numbers in words, for a terminal
    write(report, folder)                                              # the page, metrics.json, model card, CSV files
    write_comparison(compare(report, other), folder)                   # two jobs side by side

artifacts.py, tensors.py, profile.py and aws_report.py read what the job left, job.py what SageMaker says, trials.py the
tuning job; metrics.py, calibration.py, importance.py, activity.py, series.py, cost.py and rules.py compute; report.py
holds it all, gaps.py says what is missing; wording.py, charts*.py, page.py, model_card.py and comparison.py show it;
files.py writes it. Nothing here knows a client.
scikit-learn, optuna, matplotlib and jinja2 are imported inside the functions that need them: `dogbreed --help` must not
pay.
"""

from dogbreed_cli.report.comparison import Comparison, compare
from dogbreed_cli.report.cost import FREE, Rate
from dogbreed_cli.report.files import write, write_comparison
from dogbreed_cli.report.gallery import illustrate
from dogbreed_cli.report.report import PROFILE, RULES, TENSORS, Report, build, to_json, to_plain
from dogbreed_cli.report.wording import summarize

__all__ = [
    "FREE",
    "PROFILE",
    "RULES",
    "TENSORS",
    "Comparison",
    "Rate",
    "Report",
    "build",
    "compare",
    "illustrate",
    "summarize",
    "to_json",
    "to_plain",
    "write",
    "write_comparison",
]

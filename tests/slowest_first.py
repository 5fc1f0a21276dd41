"""Which file a worker of pytest takes next: the slowest first, so that none has a long one left at the end.

pytest-xdist would begin with the files that have the most tests, and those take the least time.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest

# By `make test` on two processors. What takes less than ten seconds there is as it comes.
SLOWEST = (
    "test_pipeline", "test_serve_pipeline", "test_terminal", "test_readme", "test_entrypoints_job", "test_endpoint_end",
    "test_features_job", "test_cli_commands", "test_entrypoints_processes", "test_resnet50", "test_upload_killed",
    "test_endings", "test_train_features", "test_debug_hook", "test_extract_killed", "test_entrypoints_by_hand",
    "test_rules_end_to_end", "test_deploy", "test_interrupted", "test_killed", "test_local_faults",
    "test_local_endpoints", "test_local_tuning", "test_local_warm", "test_report_activity", "test_predict",
    "test_profiler", "test_aws_target", "test_endpoint_fuzz", "test_rule_watch", "test_serve_aws",
)  # fmt: skip


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: place(item.path.stem))


def place(file: str, slowest: Sequence[str] = SLOWEST) -> int:
    return slowest.index(file) if file in slowest else len(slowest)

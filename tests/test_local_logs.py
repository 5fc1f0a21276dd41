"""CloudWatch Logs on this machine, read by real boto3 clients."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import boto3
import botocore.session
import pytest
from botocore.exceptions import ClientError

from dogbreed_cli.local import wire
from dogbreed_cli.local.logs import Logs

LOADER = botocore.session.get_session().get_component("data_loader")  # models are read once
GROUP = "/aws/sagemaker/TrainingJobs"


@pytest.fixture
def logs(tmp_path: Path) -> Logs:
    return Logs(tmp_path / "logs")


@pytest.fixture
def client(logs: Logs) -> Any:
    session = botocore.session.Session()
    session.register_component("data_loader", LOADER)
    session.set_credentials("testing", "testing")
    wire.register(session, {"logs": logs})
    return boto3.Session(botocore_session=session, region_name="us-east-1").client("logs")


@pytest.fixture
def stream(logs: Logs) -> str:
    for number in range(10):
        logs.append(GROUP, "job/algo-1", f"line {number}", 1000 + number)
    return "job/algo-1"


def messages(response: dict[str, Any]) -> list[str]:
    return [event["message"] for event in response["events"]]


def fails(code: str, call: Any, **parameters: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    assert caught.value.response["Error"]["Code"] == code
    return str(caught.value.response["Error"]["Message"])


def test_a_log_is_followed_by_its_forward_token(client: Any, logs: Logs, stream: str) -> None:
    here = {"logGroupName": GROUP, "logStreamName": stream, "startFromHead": True}
    first = client.get_log_events(**here, limit=4)
    assert messages(first) == [f"line {number}" for number in range(4)]
    assert first["events"][0] == {"timestamp": 1000, "message": "line 0", "ingestionTime": 1000}
    rest = client.get_log_events(**here, nextToken=first["nextForwardToken"])
    assert messages(rest) == [f"line {number}" for number in range(4, 10)]
    end = client.get_log_events(**here, nextToken=rest["nextForwardToken"])
    assert messages(end) == []
    assert end["nextForwardToken"] == rest["nextForwardToken"]
    logs.append(GROUP, stream, "ümläut\nand more", 2000)
    more = client.get_log_events(**here, nextToken=end["nextForwardToken"])
    assert messages(more) == ["ümläut\nand more"]
    assert more["nextForwardToken"] != end["nextForwardToken"]
    back = client.get_log_events(**here, nextToken=rest["nextBackwardToken"], limit=2)
    assert messages(back) == ["line 2", "line 3"]
    assert messages(client.get_log_events(**here, nextToken=back["nextForwardToken"])) == messages(rest) + messages(
        more
    )


def test_without_a_token_the_end_is_read(client: Any, stream: str) -> None:
    here = {"logGroupName": GROUP, "logStreamName": stream}
    response = client.get_log_events(**here, limit=3)
    assert messages(response) == ["line 7", "line 8", "line 9"]
    assert messages(client.get_log_events(**here, nextToken=response["nextForwardToken"])) == []
    before = client.get_log_events(**here, nextToken=response["nextBackwardToken"], limit=3)
    assert messages(before) == ["line 4", "line 5", "line 6"]
    # From startTime on, before endTime.
    for head in (True, False):
        cut = client.get_log_events(**here, startTime=1002, endTime=1005, startFromHead=head)
        assert messages(cut) == ["line 2", "line 3", "line 4"]


def test_an_answer_carries_a_megabyte(client: Any, logs: Logs) -> None:
    for number in range(30):
        logs.append(GROUP, "big", str(number % 10) * 100_000, number)
    here = {"logGroupName": GROUP, "logStreamName": "big", "startFromHead": True}
    seen, token = [], {}
    while page := client.get_log_events(**here, **token):
        assert len(page["events"]) <= 10
        seen += page["events"]
        if token == {"nextToken": page["nextForwardToken"]}:
            break
        token = {"nextToken": page["nextForwardToken"]}
    assert [event["timestamp"] for event in seen] == list(range(30))
    pages = list(client.get_paginator("filter_log_events").paginate(logGroupName=GROUP))
    assert len(pages) == 3
    assert len({event["eventId"] for page in pages for event in page["events"]}) == 30


def test_a_half_written_line_is_not_read(client: Any, logs: Logs, stream: str, tmp_path: Path) -> None:
    [path] = (tmp_path / "logs").rglob("*.jsonl")
    whole = path.read_bytes()
    here = {"logGroupName": GROUP, "logStreamName": stream, "startFromHead": True}
    with path.open("ab") as file:
        file.write(b'{"timestamp": 3000, "mess')
    response = client.get_log_events(**here)
    assert len(messages(response)) == 10
    assert client.describe_log_streams(logGroupName=GROUP)["logStreams"][0]["lastEventTimestamp"] == 1009
    with path.open("ab") as file:
        file.write(b'age": "whole"}\n')
    assert messages(client.get_log_events(**here, nextToken=response["nextForwardToken"])) == ["whole"]
    path.write_bytes(whole + b'{"timestamp": 3000, "mess' + b'{"timestamp": 3001, "message": "x"}\n')
    logs.append(GROUP, stream, "after", 3002)
    assert messages(client.get_log_events(**here, nextToken=response["nextForwardToken"])) == ["after"]


def test_groups_and_streams(client: Any, logs: Logs) -> None:
    for number in range(5):
        logs.append(GROUP, f"job-{number}/algo-1", "x", 1000 - number)
    logs.append("/aws/sagemaker/Endpoints/dogs", "AllTraffic/i-1", "x", 1)
    logs.append("..", "..", "x", 1)
    groups = client.describe_log_groups()["logGroups"]
    assert [group["logGroupName"] for group in groups] == ["..", "/aws/sagemaker/Endpoints/dogs", GROUP]
    found = client.describe_log_groups(logGroupNamePrefix="/aws/sagemaker/E")["logGroups"]
    assert [group["logGroupName"] for group in found] == ["/aws/sagemaker/Endpoints/dogs"]
    assert ".." not in [path.name for path in logs.folder.rglob("*")]
    paginator = client.get_paginator("describe_log_streams")
    pages = list(paginator.paginate(logGroupName=GROUP, PaginationConfig={"PageSize": 2}))
    assert [[s["logStreamName"][4] for s in page["logStreams"]] for page in pages] == [["0", "1"], ["2", "3"], ["4"]]
    by_time = client.describe_log_streams(logGroupName=GROUP, orderBy="LastEventTime", descending=True, limit=2)
    assert [s["lastEventTimestamp"] for s in by_time["logStreams"]] == [1000, 999]
    one = client.describe_log_streams(logGroupName=GROUP, logStreamNamePrefix="job-3/")["logStreams"]
    assert [s["logStreamName"] for s in one] == ["job-3/algo-1"]
    arn = groups[2]["arn"]
    assert len(client.describe_log_streams(logGroupIdentifier=arn.removesuffix(":*"))["logStreams"]) == 5
    client.delete_log_group(logGroupName=GROUP)
    assert len(client.describe_log_groups()["logGroups"]) == 2
    fails("ResourceNotFoundException", client.delete_log_group, logGroupName=GROUP)


def test_filtering(client: Any, logs: Logs) -> None:
    for number in range(6):
        logs.append(GROUP, f"job-{number % 2}/algo-1", f"epoch {number}: [ERROR] val_loss=0.{number}", 1000 + number)
    logs.append(GROUP, "other", "Traceback (most recent call last):", 500)
    here = {"logGroupName": GROUP}
    every = client.filter_log_events(**here)["events"]
    assert [event["timestamp"] for event in every] == [500, *range(1000, 1006)]
    assert [event["logStreamName"] for event in every][:3] == ["other", "job-0/algo-1", "job-1/algo-1"]
    for options, expected in [
        ({"logStreamNamePrefix": "job-1/"}, [1001, 1003, 1005]),
        ({"logStreamNames": ["other", "job-0/algo-1"]}, [500, 1000, 1002, 1004]),
        ({"startTime": 1002, "endTime": 1004}, [1002, 1003]),
        ({"filterPattern": "Traceback"}, [500]),
        ({"filterPattern": '"val_loss=0.4"'}, [1004]),
        ({"filterPattern": '"most recent"'}, [500]),
        ({"filterPattern": "traceback"}, []),
    ]:
        found = client.filter_log_events(**here, **options)["events"]
        assert [event["timestamp"] for event in found] == expected, options
    pages = client.get_paginator("filter_log_events").paginate(**here, PaginationConfig={"PageSize": 3})
    assert [len(page["events"]) for page in pages] == [3, 3, 1]
    for pattern in ("a b", "?a ?b", "{ $.x = 1 }", "-a", "[w1, w2]", "%regex%"):
        assert pattern in fails("InvalidParameterException", client.filter_log_events, **here, filterPattern=pattern)


def test_what_is_not_there(client: Any, logs: Logs, stream: str) -> None:
    missing = {"logGroupName": "nobody"}
    for call in (client.describe_log_streams, client.filter_log_events):
        fails("ResourceNotFoundException", call, **missing)
    fails("ResourceNotFoundException", client.get_log_events, **missing, logStreamName="x")
    here = {"logGroupName": GROUP}
    message = fails("ResourceNotFoundException", client.get_log_events, **here, logStreamName="nobody")
    assert message == "The specified log stream does not exist."
    fails("ResourceNotFoundException", client.filter_log_events, **here, logStreamNames=["nobody"])
    fails("InvalidParameterException", client.get_log_events, **here, logStreamName=stream, nextToken="f/1")
    fails("InvalidParameterException", client.filter_log_events, **here, nextToken="!")
    fails("InvalidParameterException", client.describe_log_streams, **here, limit=51)
    fails("InvalidParameterException", client.describe_log_streams)
    fails("InvalidParameterException", client.describe_log_groups, logGroupNamePrefix="no spaces")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.describe_log_streams(**missing)


WRITER = """
import sys
from pathlib import Path
from dogbreed_cli.local.logs import Logs
logs = Logs(Path(sys.argv[1]))
for number in range(500):
    logs.append("group", "stream", sys.argv[2] * 200, number)
assert "botocore" not in sys.modules
"""


def test_two_processes_write_to_one_stream(client: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-c", WRITER, str(tmp_path / "logs")]
    writers = [subprocess.Popen([*command, letter]) for letter in "xy"]
    assert [writer.wait() for writer in writers] == [0, 0]
    response = client.get_log_events(logGroupName="group", logStreamName="stream", startFromHead=True)
    assert sorted(messages(response)) == ["x" * 200] * 500 + ["y" * 200] * 500

"""CloudWatch Logs on this machine: a log stream is a file of JSON lines, `<group>/<stream>.jsonl`, that only grows.

`Logs(folder)` answers boto3's operations through wire.py; job workers write with `append` without boto3. A last line
that a killed worker left half-written is not read. A token is a place in the file, so reading goes on where it ended.
"""

import base64
import binascii
import hashlib
import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from dogbreed_cli.local.errors import AwsError
from dogbreed_cli.local.home import ACCOUNT, REGION
from dogbreed_cli.local.logs_events import Event, fit_bytes, read_events, read_forward, read_last_event

_MOST_EVENTS = 10_000
_ALWAYS = 1 << 62


class Logs:
    def __init__(self, folder: Path):
        self.folder = Path(folder)

    def append(self, group: str, stream: str, message: str, timestamp_ms: int) -> None:
        """Add one event; group and stream are made when they are not there. Safe with several writers at once."""
        line = json.dumps({"timestamp": int(timestamp_ms), "message": message}) + "\n"
        path, flags = self._path(group, stream), os.O_WRONLY | os.O_APPEND | os.O_CREAT
        try:
            file = os.open(path, flags, 0o644)
        except FileNotFoundError:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(path, flags, 0o644)
        try:
            os.write(file, line.encode())
        finally:
            os.close(file)

    def _path(self, group: str, stream: str | None = None) -> Path:
        folder = self.folder / _encode_name(group)
        return folder if stream is None else folder / f"{_encode_name(stream)}.jsonl"

    def describe_log_groups(self, request: dict[str, Any]) -> dict[str, Any]:
        _check_parameters(request, "logGroupNamePrefix logGroupNamePattern nextToken limit")
        prefix, pattern = request.get("logGroupNamePrefix", ""), request.get("logGroupNamePattern", "").lower()
        paths = [path for path in self.folder.iterdir() if path.is_dir()] if self.folder.is_dir() else []
        names = sorted(unquote(path.name) for path in paths)
        found = [name for name in names if name.startswith(prefix) and pattern in name.lower()]
        page, token = _cut_page(found, request)
        return {"logGroups": [self._describe_group(name) for name in page], "nextToken": token}

    def _describe_group(self, group: str) -> dict[str, Any]:
        path, arn = self._path(group), f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}"
        return {
            "logGroupName": group,
            "creationTime": int(path.stat().st_ctime * 1000),
            "metricFilterCount": 0,
            "arn": f"{arn}:*",
            "logGroupArn": arn,
            "logGroupClass": "STANDARD",
            "storedBytes": sum(file.stat().st_size for file in path.glob("*.jsonl")),
        }

    def describe_log_streams(self, request: dict[str, Any]) -> dict[str, Any]:
        _check_parameters(
            request, "logGroupName logGroupIdentifier logStreamNamePrefix orderBy descending nextToken limit"
        )
        group, prefix = _group_name(request), request.get("logStreamNamePrefix", "")
        by_time = request.get("orderBy") == "LastEventTime"
        if by_time and prefix:
            message = "Cannot order by LastEventTime with a logStreamNamePrefix."
            raise AwsError("InvalidParameterException", message)
        streams = [self._describe_stream(group, name) for name in self._streams(group) if name.startswith(prefix)]
        if by_time:
            streams.sort(key=lambda stream: (stream.get("lastEventTimestamp", 0), stream["logStreamName"]))
        if request.get("descending"):
            streams.reverse()
        page, token = _cut_page(streams, request)
        return {"logStreams": page, "nextToken": token}

    def _streams(self, group: str) -> list[str]:
        """Names, sorted. Raises AwsError(ResourceNotFoundException) for a group that is not there."""
        folder = self._path(group)
        if not folder.is_dir():
            raise AwsError("ResourceNotFoundException", "The specified log group does not exist.")
        return sorted(unquote(path.stem) for path in folder.glob("*.jsonl"))

    def _describe_stream(self, group: str, stream: str) -> dict[str, Any]:
        path = self._path(group, stream)
        first, last = next(read_events(path), None), read_last_event(path)
        described = {
            "logStreamName": stream,
            "creationTime": first.timestamp if first else int(path.stat().st_ctime * 1000),
            "arn": f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}:log-stream:{stream}",
            "storedBytes": 0,  # as AWS has it since 2019
        }
        if first and last:
            described |= {"firstEventTimestamp": first.timestamp, "lastEventTimestamp": last.timestamp}
            described |= {"lastIngestionTime": last.timestamp}
        return described

    def get_log_events(self, request: dict[str, Any]) -> dict[str, Any]:
        _check_parameters(
            request, "logGroupName logGroupIdentifier logStreamName startTime endTime nextToken limit startFromHead"
        )
        group, stream = _group_name(request), request["logStreamName"]
        if stream not in self._streams(group):
            raise AwsError("ResourceNotFoundException", "The specified log stream does not exist.")
        path, limit, matches = self._path(group, stream), request.get("limit", _MOST_EVENTS), _time_filter(request)
        is_forward, place = _parse_place(request)
        if is_forward:
            events, place = read_forward(path, place, limit, matches)
            start, end = events[0].start if events else place, place
        else:
            before = [event for event in read_events(path) if event.end <= place]
            end = before[-1].end if before else 0
            events = fit_bytes([event for event in before if matches(event)][-limit:], from_end=True)
            start = events[0].start if events else 0
        return {
            "events": [event.answer() for event in events],
            "nextForwardToken": f"f/{end:056}",
            "nextBackwardToken": f"b/{start:056}",
        }

    def filter_log_events(self, request: dict[str, Any]) -> dict[str, Any]:
        _check_parameters(
            request,
            "logGroupName logGroupIdentifier logStreamNames logStreamNamePrefix startTime endTime filterPattern "
            "nextToken limit interleaved startFromHead",
        )
        if "logStreamNames" in request and "logStreamNamePrefix" in request:
            message = "You cannot specify both logStreamNames and logStreamNamePrefix."
            raise AwsError("InvalidParameterException", message)
        group = _group_name(request)
        streams = self._streams(group)
        wanted, prefix = request.get("logStreamNames"), request.get("logStreamNamePrefix", "")
        if wanted and not set(wanted) <= set(streams):
            raise AwsError("ResourceNotFoundException", "The specified log stream does not exist.")
        matches, phrase = _time_filter(request), _parse_pattern(request.get("filterPattern", ""))
        found = sorted(
            ((event.timestamp, stream, event.start), event)
            for stream in sorted(set(wanted or streams))
            if stream.startswith(prefix)
            for event in read_events(self._path(group, stream))
            if matches(event) and phrase in event.message
        )
        after = _parse_token(request["nextToken"]) if "nextToken" in request else None
        rest = [pair for pair in found if after is None or pair[0] > after]
        page = rest[: len(fit_bytes([event for _, event in rest[: request.get("limit", _MOST_EVENTS)]]))]
        return {
            "events": [
                event.answer() | {"logStreamName": place[1], "eventId": _event_id(place)} for place, event in page
            ],
            "searchedLogStreams": [],
            "nextToken": _serialize_token(page[-1][0]) if len(page) < len(rest) else None,
        }

    def delete_log_group(self, request: dict[str, Any]) -> None:
        _check_parameters(request, "logGroupName")
        self._streams(request["logGroupName"])
        shutil.rmtree(self._path(request["logGroupName"]), ignore_errors=True)


def _time_filter(request: dict[str, Any]) -> Callable[[Event], bool]:
    """From startTime on, and before endTime."""
    start, end = request.get("startTime", 0), request.get("endTime", _ALWAYS)
    return lambda event: start <= event.timestamp < end


def _parse_place(request: dict[str, Any]) -> tuple[bool, int]:
    """(forward?, place): where GetLogEvents reads from."""
    token = request.get("nextToken")
    if token is None:
        return (True, 0) if request.get("startFromHead") else (False, _ALWAYS)
    match = re.fullmatch(r"([fb])/(\d{56})", token)
    if not match:
        raise AwsError("InvalidParameterException", "The specified nextToken is invalid.")
    return match[1] == "f", int(match[2])


def _parse_pattern(pattern: str) -> str:
    """What the message must hold: one term, or one phrase in quotes."""
    pattern = pattern.strip()
    match = re.fullmatch(r'\w*|"((?:[^"\\]|\\.)*)"', pattern)
    if not match:
        message = f"The local CloudWatch Logs takes one term or one quoted phrase as filterPattern, not: {pattern}"
        raise AwsError("InvalidParameterException", message)
    return pattern if match[1] is None else re.sub(r"\\(.)", r"\1", match[1])


def _event_id(place: tuple[int, str, int]) -> str:
    timestamp, stream, start = place
    number = int(hashlib.md5(stream.encode(), usedforsecurity=False).hexdigest()[:12], 16)
    return f"{timestamp:020}{number:018}{start:018}"


def _serialize_token(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


def _parse_token(token: str) -> Any:
    try:
        timestamp, stream, start = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
        return int(timestamp), str(stream), int(start)
    except (binascii.Error, ValueError, TypeError) as error:
        raise AwsError("InvalidParameterException", "The specified nextToken is invalid.") from error


def _cut_page(items: list[Any], request: dict[str, Any]) -> tuple[list[Any], str | None]:
    """(page, token of the next one): a token is how many were shown."""
    token = request.get("nextToken", "0")
    if not token.isdecimal():
        raise AwsError("InvalidParameterException", "The specified nextToken is invalid.")
    first, limit = int(token), request.get("limit", 50)
    end = first + limit
    return items[first:end], str(end) if end < len(items) else None


def _group_name(request: dict[str, Any]) -> str:
    if ("logGroupName" in request) == ("logGroupIdentifier" in request):
        message = "Exactly one of logGroupName and logGroupIdentifier must be given."
        raise AwsError("InvalidParameterException", message)
    name = request.get("logGroupName") or request["logGroupIdentifier"]
    return str(name).rpartition(":log-group:")[2].removesuffix(":*")


def _encode_name(name: str) -> str:
    encoded = quote(name, safe="")
    if len(encoded) > 240:
        raise AwsError("InvalidParameterException", f"A name is too long for the local CloudWatch Logs: {name}")
    return encoded.replace(".", "%2E") if encoded in (".", "..") else encoded


def _check_parameters(request: dict[str, Any], known: str) -> None:
    for name in request:
        if name not in known.split():
            message = f"The local CloudWatch Logs does not implement {name}."
            raise AwsError("InvalidParameterException", message)

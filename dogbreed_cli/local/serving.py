"""What the worker of an endpoint does: start its server, see that it answers, swap it, end it.

The server is serving_app.py under the container image's interpreter. Its socket is opened here and handed down, so the
port is free for certain. An update starts the new server beside the old one, which serves until the new one answers.
"""

from __future__ import annotations

import http.client
import os
import shutil
import socket
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from dogbreed_cli.local.endpoints import ENDPOINT, endpoint_folder, fail, running_variants
from dogbreed_cli.local.errors import AwsError
from dogbreed_cli.local.group import Group
from dogbreed_cli.local.home import REGION, Home
from dogbreed_cli.local.logs import Logs
from dogbreed_cli.local.records import Record
from dogbreed_cli.local.s3_access import open_access
from dogbreed_cli.local.sagemaker import SageMaker
from dogbreed_cli.local.scheduler import end_if_due
from dogbreed_cli.local.training_request import image_python
from dogbreed_cli.source import unpack
from dogbreed_cli.storage import parse_s3_uri

APP = Path(__file__).with_name("serving_app.py")
# AWS's ContainerStartupHealthCheckTimeoutInSeconds has no default below this.
START_SECONDS = 300
# https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html
TIMEOUT_SECONDS = 60
NO_PING = (
    "The primary container for production variant AllTraffic did not pass the ping health check. "
    "Please check CloudWatch logs for this endpoint."
)
TOOLKIT_ROOT = "/opt/ml"


class Server:
    """One running server of an endpoint config: its folder, its port, its process group."""

    def __init__(self, home: Home, endpoint: str, config: Record, number: int):
        self.config = config
        self.folder = home.jobs / endpoint_folder(endpoint) / f"server-{number}"
        shutil.rmtree(self.folder, ignore_errors=True)
        model = SageMaker(home).describe_model(config["ProductionVariants"][0])
        container = model["PrimaryContainer"]
        fetch_model(home, container["ModelDataUrl"], self.folder)
        python = image_python(container["Image"])
        logs, stream = Logs(home.logs), f"AllTraffic/i-{number:04d}"
        with socket.create_server(("127.0.0.1", 0)) as listening:
            self.port = listening.getsockname()[1]
            self.group = Group(
                [str(python), str(APP), str(listening.fileno()), str(self.folder / "model")],
                self.folder,
                environment(container.get("Environment", {}), self.folder),
                lambda line: logs.append(log_group(endpoint), stream, line, int(time.time() * 1000)),
                pass_fds=(listening.fileno(),),
            )

    def answers(self) -> bool:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            connection.request("GET", "/ping")
            return connection.getresponse().status == 200
        except OSError:
            return False
        finally:
            connection.close()

    def wait_until_ready(self, wanted: Callable[[], bool]) -> str:
        """Empty once /ping answers, or the reason why it never will. `wanted()` False gives up."""
        end = time.monotonic() + START_SECONDS
        while not self.answers():
            if self.group.exited():
                return self.describe_exit()
            if time.monotonic() > end:
                return NO_PING
            if not wanted():
                return "The endpoint was deleted."
            time.sleep(0.1)
        return ""

    def describe_exit(self) -> str:
        """As AWS says it, and the last words of the container."""
        code, said = self.group.end(), self.group.last_line
        return f"{NO_PING} The container stopped with exit code {code}" + (f": {said}" if said else ".")

    def end(self, grace: float) -> None:
        """Requests under way have `grace` seconds."""
        self.group.stop(grace)
        shutil.rmtree(self.folder, ignore_errors=True)


def fetch_model(home: Home, uri: str, folder: Path) -> None:
    """Unpack model.tar.gz into the folder's model/. Raises AwsError, DogbreedError."""
    bucket, key = parse_s3_uri(uri)
    folder.mkdir(parents=True, exist_ok=True)
    archive = folder / "model.tar.gz"
    try:
        open_access(home).fetch(bucket, [(key, archive)])
    except AwsError as error:
        message = f'Failed to download model data for container "container_1" from URL: "{uri}". {error}'
        raise AwsError(error.code, message) from error
    unpack(archive, folder / "model")
    archive.unlink()


def log_group(endpoint: str) -> str:
    return f"/aws/sagemaker/Endpoints/{endpoint}"


def environment(given: dict[str, str], folder: Path) -> dict[str, str]:
    """The container's environment, with /opt/ml where this endpoint has it."""
    mapped = {k: v.replace(TOOLKIT_ROOT, str(folder), 1) if v.startswith(TOOLKIT_ROOT) else v for k, v in given.items()}
    # PYTHONSAFEPATH: the app's own folder is not a place to import from; model code comes from the archive only.
    return {
        "SAGEMAKER_BASE_DIR": str(folder),
        "AWS_REGION": REGION,
        "PYTHONSAFEPATH": "1",
        "PATH": os.defpath,
        **mapped,
    }


def run(home: Home, name: str) -> None:
    sagemaker = SageMaker(home)
    servers: list[Server] = []
    try:
        serve(home, sagemaker, name, servers)
    except Exception as error:
        traceback.print_exc()  # A broken archive, or our bug: worker.log has it all.
        reason = f"{type(error).__name__}: {error}"
        sagemaker.records.update(ENDPOINT, name, lambda record: fail(record, reason))
    finally:
        for server in servers:
            server.end(grace=2)
        if (sagemaker.records.read(ENDPOINT, name) or {}).get("EndpointStatus") == "Deleting":
            sagemaker.records.delete(ENDPOINT, name)


def serve(home: Home, sagemaker: SageMaker, name: str, servers: list[Server]) -> None:
    """From Creating to Deleting or Failed. `servers` holds whatever runs, for the caller to end."""
    records = sagemaker.records

    def status() -> str:
        end_if_due(records, name, ENDPOINT)
        return (records.read(ENDPOINT, name) or {}).get("EndpointStatus", "Deleting")

    number = 1
    server = Server(home, name, sagemaker.describe_endpoint_config(records.read(ENDPOINT, name) or {}), number)
    servers.append(server)
    trouble = server.wait_until_ready(lambda: status() != "Deleting")
    if trouble:
        if status() != "Deleting":
            records.update(ENDPOINT, name, lambda record: fail(record, trouble))
        return
    records.update(ENDPOINT, name, lambda record: go_in_service(record, server))
    while (now := status()) in ("InService", "Updating"):
        if now == "Updating":
            number += 1
            server = swap(home, sagemaker, name, servers, number, lambda: status() != "Deleting")
        elif server.group.exited():
            reason = server.describe_exit()
            break
        time.sleep(0.1)
    else:
        return
    records.update(ENDPOINT, name, lambda record: fail(record, reason))


def swap(
    home: Home, sagemaker: SageMaker, name: str, servers: list[Server], number: int, wanted: Callable[[], bool]
) -> Server:
    """Start the new config's server; once it answers it takes over, otherwise the old one stays."""
    old, config = servers[0], (sagemaker.records.read(ENDPOINT, name) or {}).get("NextEndpointConfigName", "")
    try:
        new = Server(home, name, sagemaker.describe_endpoint_config({"EndpointConfigName": config}), number)
    except Exception as error:
        traceback.print_exc()
        reason = f"{type(error).__name__}: {error}"
        sagemaker.records.update(ENDPOINT, name, lambda record: go_back(record, reason))
        return old
    servers.append(new)
    trouble = new.wait_until_ready(wanted)
    loser = new if trouble else old
    if trouble:
        sagemaker.records.update(ENDPOINT, name, lambda record: go_back(record, trouble))
    else:
        sagemaker.records.update(ENDPOINT, name, lambda record: go_in_service(record, new))
    servers.remove(loser)
    loser.end(grace=TIMEOUT_SECONDS)
    return servers[0]


def go_in_service(record: Record, server: Server) -> None:
    if record["EndpointStatus"] == "Deleting":
        return
    record.update(EndpointStatus="InService", Port=server.port, LastModifiedTime=time.time())
    record["EndpointConfigName"] = server.config["EndpointConfigName"]
    record["ProductionVariants"] = running_variants(server.config)
    record.pop("NextEndpointConfigName", None)


def go_back(record: Record, reason: str) -> None:
    """A failed update: the old config serves on, and the reason is there to read, as on AWS after a rollback."""
    if record["EndpointStatus"] == "Updating":
        record.update(EndpointStatus="InService", FailureReason=reason[:1024], LastModifiedTime=time.time())
        record.pop("NextEndpointConfigName", None)

"""What an endpoint says of a picture: asked for, asked again where the endpoint is only busy, and drawn."""

from __future__ import annotations

import json
import random
import sys
import time
from dataclasses import dataclass
from typing import Any

from dogbreed_cli.errors import DogbreedError, NotFound
from dogbreed_cli.pictures import Picture

BAR = 24  # columns of a probability of 1, where the terminal has them
LEAST_BAR = 4
# The container's own words for "come again": botocore sees them inside a ModelError, and does not. (It does come again
# after throttling and after a 5xx of SageMaker itself.) A 500 is the model's, of this picture: it would say it again.
BUSY_STATUSES = (429, 502, 503, 504)
BUSY_CODES = ("ModelNotReadyException",)
ATTEMPTS, PAUSE_SECONDS = 6, 0.2


@dataclass(frozen=True)
class Answer:
    image: str
    predictions: tuple[dict[str, Any], ...] = ()
    milliseconds: float | None = None
    error: str | None = None


def ask(client: Any, endpoint: str, picture: Picture, top_k: int) -> Answer:
    """What is wrong with the picture is in the Answer; what is with the endpoint is raised."""
    from botocore.exceptions import ClientError

    try:
        body, content_type = picture.read()
        started = time.perf_counter()
        predictions = invoke(client, endpoint, body, content_type, top_k)
    except DogbreedError as error:
        return Answer(picture.name, error=error.line)
    except ClientError as error:
        said = error.response
        if said["Error"]["Code"] == "ModelError":
            return Answer(picture.name, error=say_refusal(said))
        if "not found" in said["Error"].get("Message", ""):
            raise NotFound(
                f"no endpoint {endpoint} in service", said["Error"]["Message"], "run `dogbreed deploy`"
            ) from None
        raise
    except (ValueError, KeyError, TypeError):
        raise DogbreedError(f"endpoint {endpoint} answers, but not as dogbreed's do", fix="name another one") from None
    milliseconds = 1000 * (time.perf_counter() - started)
    return Answer(picture.name, tuple(predictions[:top_k]), round(milliseconds, 1))


def invoke(client: Any, endpoint: str, body: bytes, content_type: str, top_k: int) -> list[dict[str, Any]]:
    """The best classes first. Asks again, with longer and longer pauses, while the container says that it is busy."""
    from botocore.exceptions import ClientError

    for attempt in range(1, ATTEMPTS + 1):
        try:
            response = client.invoke_endpoint(
                EndpointName=endpoint,
                Body=body,
                ContentType=content_type,
                Accept="application/json",
                CustomAttributes=f"top_k={top_k}",
            )
            return json.loads(response["Body"].read())["predictions"]
        except ClientError as error:
            if attempt == ATTEMPTS or not is_busy(error.response):
                raise
        time.sleep(random.uniform(0.5, 1) * PAUSE_SECONDS * 2**attempt)  # apart from those that came with it
    raise AssertionError("the last attempt returns or raises")


def is_busy(said: Any) -> bool:
    return said["Error"]["Code"] in BUSY_CODES or said.get("OriginalStatusCode") in BUSY_STATUSES


def say_refusal(said: Any) -> str:
    """A refusal is one sentence; of a traceback the last line says what went wrong."""
    lines = (said.get("OriginalMessage") or said["Error"]["Message"]).strip().splitlines() or ["no reason given"]
    return lines[0 if said.get("OriginalStatusCode", 500) < 500 else -1]


def draw(answer: Answer, columns: int) -> str:
    """The image's name and a bar for each class, `columns` wide at most where the classes' names leave room."""
    if answer.error:
        return f"{answer.image}\n  {answer.error}"
    width = max((len(one["label"]) for one in answer.predictions), default=0)
    bar = min(BAR, max(LEAST_BAR, columns - width - len("      100.0%") - 1))
    lines = [f"{answer.image}  ({answer.milliseconds:.0f} ms)"]
    full, empty = ("█", "·") if (sys.stdout.encoding or "").lower().startswith("utf") else ("#", ".")
    for one in answer.predictions:
        cells = round(bar * one["probability"])
        lines.append(f"  {one['label']:<{width}}  {full * cells}{empty * (bar - cells)} {one['probability']:6.1%}")
    return "\n".join(lines)

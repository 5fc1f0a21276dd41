"""Whatever comes, an endpoint answers 2xx or 4xx with one line, and then the next good request as before.

DOGBREED_FUZZ says how many requests (10000 for the whole lot); a small number is sent without it.
"""

from __future__ import annotations

import base64
import http.client
import io
import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from answering_endpoint import Endpoint, make_model, read, serve_model
from entrypoint_runs import COLOURS, draw
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

COUNT = int(os.environ.get("DOGBREED_FUZZ", "400"))
KINDS = {"JPEG": {"quality": 90}, "PNG": {}, "WEBP": {}, "GIF": {}, "BMP": {}, "TIFF": {}}
TYPES = ("image/jpeg", "image/png", "image/webp", "application/x-image", "application/json")
CUSTOM = "X-Amzn-SageMaker-Custom-Attributes"


def originals() -> list[bytes]:
    rng, found = random.Random(0), []
    for kind, options in KINDS.items():
        draw(rng, "002.Beagle").save(file := io.BytesIO(), kind, **options)
        found.append(file.getvalue())
    draw(rng, "003.Collie").save(file := io.BytesIO(), "JPEG", progressive=True)
    return [*found, file.getvalue()]


@st.composite
def mutated(draws: st.DrawFn) -> bytes:
    """A picture with some of its bytes written over, cut out, doubled or added; few bytes, so that most is intact."""
    body = bytearray(draws(st.sampled_from(ORIGINALS)))
    steps = st.tuples(st.sampled_from("wwwcdat"), st.integers(0, 2**16), st.binary(min_size=1, max_size=6))
    for how, place, some in draws(st.lists(steps, min_size=1, max_size=6)):
        at = place % (len(body) + 1)
        if how == "w":
            body[at : at + len(some)] = some
        elif how == "c":
            del body[at : at + some[0]]
        elif how == "d":
            body[at:at] = body[at : at + 8 * some[0]]
        elif how == "a":
            body[at:at] = some
        else:
            del body[at:]
    return bytes(body)


ORIGINALS = originals()
encoded = mutated().map(lambda body: base64.b64encode(body).decode())
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | encoded,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["images", "a"]), inner, max_size=2),
    max_leaves=6,
)
documents = st.one_of(values, st.lists(encoded, min_size=1, max_size=3)).map(lambda value: json.dumps(value).encode())
bodies = st.one_of(mutated(), mutated(), st.binary(max_size=300), documents)
words = st.text(st.characters(min_codepoint=32, max_codepoint=255, blacklist_characters="\x7f"), max_size=30)
headers = st.fixed_dictionaries(
    {},
    optional={
        "Content-Type": st.sampled_from(TYPES) | st.sampled_from(TYPES) | words,
        "Accept": st.sampled_from(["*/*", "text/csv", "application/json;q=0.1, */*"]) | words,
        CUSTOM: words | st.integers(-5, 10**30).map(lambda number: f"top_k={number}") | words.map("top_k={}".format),
        "Content-Encoding": words,
        "Expect": words,
    },
)


@pytest.fixture(scope="module")
def endpoint(image_python: Path, warm_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Endpoint]:
    folder, rng = tmp_path_factory.mktemp("fuzz"), random.Random(0)
    for label in COLOURS:
        (folder / "pictures" / label).mkdir(parents=True)
        draw(rng, label).save(folder / "pictures" / label / "0.jpg")
    make_model(image_python, folder / "model", folder / "pictures")
    with serve_model(warm_python, folder) as endpoint:
        yield endpoint


def ask(endpoint: Endpoint, body: bytes, named: dict[str, str]) -> tuple[int, bytes]:
    for attempt in (1, 2):
        if endpoint.connection is None:
            endpoint.connection = endpoint.connect()
        try:
            endpoint.connection.request("POST", "/invocations", body, named)
            answer = read(endpoint.connection)
            return answer.status, answer.body
        except (ConnectionError, http.client.RemoteDisconnected):
            # The server closes a connection after a request that is no HTTP.
            endpoint.connection = None
            assert attempt == 1
    raise AssertionError


@settings(
    max_examples=COUNT,
    deadline=None,
    derandomize=COUNT < 10_000,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(body=bodies, named=headers)
def test_nothing_breaks_it(endpoint: Endpoint, body: bytes, named: dict[str, str]) -> None:
    status, said = ask(endpoint, body, named)
    assert 200 <= status < 300 or 400 <= status < 500, said
    assert b"Traceback" not in said
    if status != 200:
        assert len(said) < 600


def test_after_that_it_answers_as_before(endpoint: Endpoint) -> None:
    assert endpoint.process.poll() is None
    before = json.loads(ask(endpoint, ORIGINALS[0], {"Content-Type": "image/jpeg"})[1])
    assert before["predictions"][0]["probability"] > 0.25
    assert not [line for line in endpoint.lines if "Traceback" in line]

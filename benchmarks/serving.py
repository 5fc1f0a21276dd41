"""(h) The endpoint: /invocations of one client and of eight, against an eager float32 handler in the same server."""

import io
import shutil
import sys

import endpoint
import ours
import process
import torchserve
from PIL import Image
from table import Row

CLIENTS = 8
EAGER, OURS, TORCHSERVE = "eager f32 handler", "ours", "ours under TorchServe"
SERVERS = {TORCHSERVE: torchserve.TorchServe}
MOST_P50 = 0.65  # of the eager handler's
MOST_OVER_BARE = 1.3
LEAST_RATE = 3.0  # times the eager handler's
MOST_TAIL = 2.0  # p95 over p50
MOST_GROWTH = 1.05  # of resident memory over the last three quarters of the long run


def measure(work, sizes):
    folders = prepare(work)
    bodies = pictures(work)
    alone, together, cold = ({name: [] for name in folders} for _ in range(3))
    bare, engine = [], ""
    for number in range(sizes.rounds):
        for name, folder in folders.items():
            print(f"serving, round {number + 1} of {sizes.rounds}: {name}", file=sys.stderr, flush=True)
            with endpoint.started(folder, SERVERS.get(name, endpoint.Endpoint)) as server:
                cold[name].append(server.cold_start)
                server.ask(bodies, len(bodies))
                alone[name].append(server.ask(bodies, sizes.requests))
                together[name].append(server.ask(bodies, sizes.requests * CLIENTS // 2, CLIENTS))
        seconds, engine = measure_bare(folders[OURS], bodies, sizes.requests)
        bare.append(seconds)
    print(f"serving, {sizes.soak} requests", file=sys.stderr, flush=True)
    return [
        *alone_rows(alone, bare, engine),
        *together_rows(together),
        *soak_rows(folders[OURS], bodies, sizes.soak),
        *(Row("endpoint, process start to the first /ping", name, "s", seconds) for name, seconds in cold.items()),
    ]


def prepare(work):
    """{variant: its folder with model/}: what a training leaves, and the same with the eager handler."""
    folder = work.folder / "serving"
    extracted = ours.extract(work.photos, folder / "extract", work.weights, "auto")
    ours.train(extracted.folder, folder / OURS, work.weights, epochs=1)
    eager = folder / EAGER / "model"
    shutil.rmtree(eager, ignore_errors=True)
    shutil.copytree(folder / OURS / "model", eager)
    shutil.copy(process.HERE / "eager_handler.py", eager / "code" / "serve.py")
    under = {} if torchserve.why_not() else {TORCHSERVE: folder / OURS}
    return {EAGER: folder / EAGER, OURS: folder / OURS, **under}


def pictures(work):
    """The bytes of eight JPEGs of 500x375."""
    found = []
    for path in sorted((work.photos / "test").rglob("*.jpg"))[:8]:
        Image.open(path).resize((500, 375)).save(file := io.BytesIO(), "JPEG", quality=90)
        found.append(file.getvalue())
    return found


def measure_bare(folder, bodies, count):
    """(median seconds, the engine's name)."""
    files = []
    for number, body in enumerate(bodies):
        files.append(folder / f"{number}.jpg")
        files[-1].write_bytes(body)
    done = process.run(
        [ours.container_python(), process.HERE / "bare_forward.py", folder / "model", count, *files],
    )
    (said,) = done.steps
    return sorted(said["seconds"])[count // 2], said["engine"]


def alone_rows(alone, bare, engine):
    rows = {
        name: Row("endpoint, one client, p50", name, "ms", [1000 * load.p50 for load in loads],
                  f"p95 {1000 * max(load.p95 for load in loads):.1f} ms, errors {count_errors(loads)}")
        for name, loads in alone.items()
    }  # fmt: skip
    mine = rows[OURS].against(rows[EAGER], None)
    share = mine.median / rows[EAGER].median
    mine.must(f"<= {MOST_P50} of the eager handler's", share <= MOST_P50)
    least = Row("endpoint, decode and forward without a server, p50", engine, "ms", [1000 * each for each in bare])
    over = Row("endpoint, p50 over that", OURS, "x", [mine.median / least.median])
    return [*rows.values(), least, over.must(f"<= {MOST_OVER_BARE}", over.median <= MOST_OVER_BARE)]


def together_rows(together):
    what = f"endpoint, {CLIENTS} clients"
    rates = {
        name: Row(f"{what}, images/s", name, "images/s", [load.rate for load in loads], f"errors {count_errors(loads)}")
        for name, loads in together.items()
    }
    mine = rates[OURS].against(rates[EAGER], None, more_is_better=True)
    mine.must(f">= {LEAST_RATE} x the eager handler's", mine.ratios[0] >= LEAST_RATE)
    rows = [*rates.values()]
    for name, loads in together.items():
        tails = [load.p95 / load.p50 for load in loads]
        row = Row(f"{what}, p95 over p50", name, "x", tails, f"p50 {1000 * loads[-1].p50:.0f} ms")
        rows.append(row.must(f"<= {MOST_TAIL}", row.median <= MOST_TAIL) if name == OURS else row)
    return rows


def soak_rows(folder, bodies, count):
    """One long run: no error, and memory that does not grow once it is warm."""
    with endpoint.started(folder) as server:
        first = server.ask(bodies, count // 4, CLIENTS)
        before = server.resident()
        rest = server.ask(bodies, count - count // 4, CLIENTS)
        grown = server.resident() / before
    errors = len(first.errors) + len(rest.errors)
    note = f"of {count} requests by {CLIENTS} clients at {rest.rate:.0f} images/s"
    return [
        Row("endpoint, errors", OURS, "", [errors], note).must("0", not errors),
        Row("endpoint, memory at the end over that after a quarter", OURS, "x", [grown],
            f"{before / 1e6:.0f} MB").must(f"<= {MOST_GROWTH}", grown <= MOST_GROWTH),
    ]  # fmt: skip


def count_errors(loads):
    return sum(len(load.errors) for load in loads)

"""The least that a request can take: decode one JPEG and run the engine on it, in a loop, without any server.

    python benchmarks/bare_forward.py MODEL_DIR COUNT FILE...

Says the seconds of each turn, and the engine.
"""

import json
import sys
import time
from pathlib import Path

model_dir, count, *files = sys.argv[1:]
sys.path.insert(0, f"{model_dir}/code")
import serve  # noqa: E402

model = serve.model_fn(model_dir)
pictures = [Path(file).read_bytes() for file in files]
found = []
for number in range(int(count)):
    started = time.perf_counter()
    model.batches.engine(model.view(pictures[number % len(pictures)])[None])
    found.append(time.perf_counter() - started)
print("MEASURED " + json.dumps({"step": "bare", "seconds": found, "engine": model.batches.engine.name}))

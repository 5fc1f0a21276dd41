"""Processes that read image files: of small pictures most of the work is Python's own, which threads do not share.

    with image_readers(2) as read_files:          # may be called from as many threads
        read_files([("/dogs/1.jpg", 20_480)])     # (file, bytes) -> [Reading(...)]

Each is `python -m dogbreed_cli.image_readers`: a line of JSON in, a line of JSON out. It ends with its standard input,
so that none outlives the command, however that ends; and a decoder that crashes on a file takes no more with it.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue

from dogbreed_cli.errors import DogbreedError
from dogbreed_cli.image_reading import Reading, read

Files = Sequence[tuple[str, int]]


@contextmanager
def image_readers(count: int) -> Iterator[Callable[[Files], list[Reading]]]:
    """Start so many; they are gone when the block is left. What they cannot read is a Reading, too."""
    idle: SimpleQueue[subprocess.Popen[bytes]] = SimpleQueue()
    # -P: what lies in the current folder is no module. -W: Pillow warns on odd EXIF and large pictures: findings here.
    command = [sys.executable, "-P", "-W", "ignore", "-m", __name__]
    readers: list[subprocess.Popen[bytes]] = []

    def read_files(files: Files) -> list[Reading]:
        reader = idle.get()
        try:
            return ask(reader, files)
        finally:
            idle.put(reader)

    try:
        for _ in range(count):
            # In a group of its own: Ctrl-C is for the command, which ends these.
            readers.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, process_group=0))
            idle.put(readers[-1])
        yield read_files
    finally:
        for reader in readers:
            reader.kill()
            reader.communicate()


def ask(reader: subprocess.Popen[bytes], files: Files) -> list[Reading]:
    """Raises DogbreedError where the process ended instead of answering."""
    assert reader.stdin and reader.stdout
    answer = b""
    try:
        reader.stdin.write(json.dumps(files).encode() + b"\n")
        reader.stdin.flush()
        answer = reader.stdout.readline()
    except BrokenPipeError:
        pass
    if not answer.endswith(b"\n"):
        raise DogbreedError(
            f"The process that read images ended with {reader.wait()}.",
            f"It was to read one of {len(files)} files from {files[0][0]} to {files[-1][0]}.",
            "Run the command again; if it ends there again, move those files away.",
        )
    # A large picture is left to this process, which decodes one of them at a time.
    return [Reading(*found) if found else read(*file) for found, file in zip(json.loads(answer), files, strict=True)]


def main() -> None:
    for line in sys.stdin.buffer:
        found = [read(file, size, leave_large=True) for file, size in json.loads(line)]
        sys.stdout.buffer.write(json.dumps(found).encode() + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()

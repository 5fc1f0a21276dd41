"""`dogbreed`, and `python -m dogbreed_cli`."""

import signal


def run() -> None:
    # While modules are imported, Ctrl-C ends the process without Python's traceback; then `main` looks after it.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from dogbreed_cli.cli import main

    main(prog_name="dogbreed")


if __name__ == "__main__":
    run()

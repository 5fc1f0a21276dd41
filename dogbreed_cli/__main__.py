"""`python -m dogbreed_cli` is `dogbreed`."""

from dogbreed_cli.cli import main

main(prog_name="dogbreed")

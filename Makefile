# Each target does all its own set-up, on a machine that has only python3 (3.11 or later) and git.
#   make demo    run the whole job on this machine          make test    run all tests
#   make check   format, lint, types and tests              make lock    resolve requirements.lock and image.txt anew
#   make check-containers   the debugger's hook, and an endpoint under Ray Serve, with what current AWS containers have
#   make bench   measure against torchvision's references, timm and fastai (a quarter of an hour, alone on the machine)

PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv
RESOLVE := $(UV) pip compile --quiet --universal --python-version 3.11 --no-emit-index-url --no-annotate \
  --custom-compile-command "make lock"
# A file's tests share what they set up, so a file stays with one worker; tests/slowest_first.py says which it takes next.
# Three at once on two cores: tests wait a lot. Where modules must not be kept compiled, every process that a test starts
# would compile all of them anew.
TEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder

.PHONY: setup demo test check check-containers bench lock clean

setup: .venv/installed
	@$(BIN)/python -m dogbreed_cli.local.image

.venv/installed: $(UV) requirements.lock pyproject.toml
	@$(UV) pip install --quiet --python $(BIN)/python --requirements requirements.lock
	@$(UV) pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

$(UV):
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

demo: setup
	$(BIN)/dogbreed demo

test: setup
	$(TEST)

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(TEST)

check-containers: setup
	@$(UV) venv --quiet --allow-existing --python $(BIN)/python .venv-containers
	@$(UV) pip install --quiet --python .venv-containers/bin/python --requirements tests/containers.txt
	DOGBREED_CONTAINER_PYTHON=$(CURDIR)/.venv-containers/bin/python \
	  $(BIN)/python -m pytest tests/test_debug_hook.py tests/test_ray_serve.py

bench: setup .venv-bench/installed
	$(BIN)/python benchmarks/run.py $(BENCH)

.venv-bench/installed: $(UV) benchmarks/requirements.lock
	@$(UV) venv --quiet --clear --python $(BIN)/python .venv-bench
	@$(UV) pip install --quiet --no-deps --python .venv-bench/bin/python --requirements benchmarks/requirements.lock
	@touch $@

lock: $(UV)
	$(RESOLVE) pyproject.toml --group dev --output-file requirements.lock
	$(RESOLVE) dogbreed_cli/local/image.in --override dogbreed_cli/local/image.override \
	  --output-file dogbreed_cli/local/image.txt
	$(RESOLVE) benchmarks/requirements.txt dogbreed_cli/local/image.in --constraints dogbreed_cli/local/image.txt \
	  --override dogbreed_cli/local/image.override --override benchmarks/requirements.override \
	  --output-file benchmarks/requirements.lock

clean:
	rm -rf .venv .venv-bench .venv-containers .bench demo

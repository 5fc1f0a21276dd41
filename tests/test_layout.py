"""The shape of the code, read from its syntax trees: which way imports run, who asks for the target, how long it is."""

from __future__ import annotations

import ast
import re
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import botocore.session
import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "dogbreed_cli"
MODULES = sorted(PACKAGE.rglob("*.py"))
ENTRYPOINTS = sorted((ROOT / "entrypoints").glob("*.py"))

# Lowest first. A module imports of its own layer and of those below it.
LAYERS = [
    {"errors", "kinds", "options", "tags", "value_types", "weights", "whole_files"},
    {"breeds", "cartoon_dog", "cache", "names", "parallel"},
    {"masking"},
    {"hyperparameters"},
    {"sections", "aws_meanings"},
    {"aws_errors"},
    {"config", "config_text", "console", "image_files", "image_reading", "image_readers", "image_cache"},
    {"storage", "source", "checks", "policies"},
    {"object_store", "aws_keys", "container_images"},
    {"local", "report", "images", "image_findings", "pictures", "archives", "answers", "answer_files"},
    {"sync", "downloads", "data_report", "receipts"},
    {"requests", "debugger_requests", "sdk", "preflight"},
    {"session", "waiting", "endpoint_requests", "features_requests"},
    {"context", "jobs", "resources", "inputs", "pricing", "costs", "spending", "expiry", "autoscaling", "deployment"},
    {"rule_watch"},
    {"following"},
    {"features"},
    {"commands"},
    {"cli"},
    {"__main__"},
]
# Arrows that a layer alone would allow, or would not: who may import what, of dogbreed_cli.
ONLY = {
    # an s3:// URI's parts, an archive's safe unpacking
    "local": {"local", "errors", "storage", "source", "checks", "cache", "weights", "whole_files"},
    "storage": {"aws_errors", "parallel", "errors", "whole_files"},
    "source": {"storage", "errors"},
    "report": {"report", "errors", "tags", "whole_files"},
    "errors": set(),
    "masking": set(),
    "aws_errors": {"aws_meanings", "errors", "masking"},
    "requests": {"config", "sections", "debugger_requests", "hyperparameters", "tags"},
    "session": {
        *("local", "config", "console", "errors", "requests", "sdk", "checks", "preflight", "storage", "names"),
        *("object_store", "aws_keys", "container_images"),
    },
    "object_store": {"storage"},
    "aws_keys": {"sections"},
    "container_images": {"config", "errors"},
    "checks": {"aws_errors", "errors"},
    "policies": set(),
    "sdk": {"errors"},
}
# `demo` is about this machine by definition: it types `--target local` and asks that machine's image for weights.
DEMO = PACKAGE / "commands" / "demo.py"
# `local` too: it serves this machine to other programs, whatever target the config names.
LOCAL = PACKAGE / "commands" / "local.py"
# Who types the word, but asks nothing: the command's name, the access key of its clients.
SAYS_LOCAL = {PACKAGE / "cli.py", LOCAL}
DECIDES = {PACKAGE / "session.py", PACKAGE / "config.py", DEMO}
MAX_LINES = 300


def tracked() -> list[Path]:
    """Tracked files and those that git would take, as they lie in the working tree."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [path for name in listed.split("\0") if name and (path := ROOT / name).is_file()]


def imports(path: Path) -> Iterator[str]:
    """The full names of all modules that a file imports, anywhere in it; `from a import b` may mean a or a.b."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def part(path: Path) -> str:
    """The noun that a module is, or belongs to: local/s3.py -> local."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_parts(path: Path) -> set[str]:
    names = {entry.stem if entry.suffix == ".py" else entry.name for entry in PACKAGE.iterdir()}
    found = {name.split(".")[1] for name in imports(path) if name.startswith("dogbreed_cli.")}
    return found & names


def strings(path: Path) -> Iterator[tuple[int, str]]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


# ---- imports run one way


def test_every_module_has_its_layer() -> None:
    known = set().union(*LAYERS)
    assert {part(path) for path in MODULES} - {"__init__"} == known


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_run_one_way(path: Path) -> None:
    me = part(path)
    if me == "__init__":
        assert not imported_parts(path)
        return
    level = next(number for number, layer in enumerate(LAYERS) if me in layer)
    below = set().union(*LAYERS[: level + 1])
    assert not imported_parts(path) - below, f"{me} imports what stands above it"
    if me in ONLY:
        assert not imported_parts(path) - ONLY[me]
    if me == "commands":
        others = {name for name in imports(path) if name.startswith("dogbreed_cli.commands")}
        assert not others, "a command imports another command"
    if me not in ("local", "session") and path not in (DEMO, LOCAL):
        assert "local" not in imported_parts(path), "only session.py knows of local/"


def test_entrypoints_and_the_package_do_not_know_each_other() -> None:
    theirs = {path.stem for path in ENTRYPOINTS}
    for path in ENTRYPOINTS:
        assert not [name for name in imports(path) if name.startswith("dogbreed_cli")], path
    for path in MODULES:
        assert not [name for name in imports(path) if name.split(".")[0] in theirs | {"entrypoints"}], path


def test_a_request_s_limit_is_aws_s_wherever_it_stands() -> None:
    """In the local endpoint's server, for whatever model, and in ours, for whatever server: neither can import it."""
    model = botocore.session.get_session().get_service_model("sagemaker-runtime")
    wanted = model.operation_model("InvokeEndpoint").input_shape.members["Body"].metadata["max"]
    for path in (ROOT / "entrypoints" / "serve.py", PACKAGE / "local" / "serving_app.py"):
        limits = re.findall(r"^MOST_BYTES = ([\d_]+)", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert [int(limit) for limit in limits] == [wanted], path


def test_the_package_imports_nothing_of_the_container_image() -> None:
    for path in MODULES:
        found = {name.split(".")[0] for name in imports(path)}
        if path.name == "serving_app.py":  # runs inside the image
            continue
        assert not found & {"torch", "torchvision", "smdebug", "sagemaker_training", "moto"}, path


# ---- who asks which target it is


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_target_is_decided_in_one_place(path: Path) -> None:
    if part(path) == "local" or path in DECIDES:
        return
    words = {"aws"} if path in SAYS_LOCAL else {"local", "aws"}
    lines = [line for line, value in strings(path) if value in words]
    assert not lines, f"the word stands in line {lines}"
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute):
            assert node.attr != "target", f"line {node.lineno} asks for the target"
        if isinstance(node, ast.Name):
            assert node.id not in ("LocalSession", "AwsSession"), f"line {node.lineno} asks for the kind of session"


def test_the_session_asks_once() -> None:
    tree = ast.parse((PACKAGE / "session.py").read_text(encoding="utf-8"))
    assert sum(isinstance(node, ast.Attribute) and node.attr == "target" for node in ast.walk(tree)) == 1


def test_the_demo_only_types_the_word() -> None:
    for node in ast.walk(ast.parse(DEMO.read_text(encoding="utf-8"))):
        assert not (isinstance(node, ast.Compare) and '"local"' in ast.unparse(node).replace("'", '"'))
        assert not (isinstance(node, ast.Attribute) and node.attr == "target")


# ---- files


def test_no_test_is_imported_by_another() -> None:
    """What several share lies in a module of its own, which no run of tests collects twice."""
    tests = sorted((ROOT / "tests").glob("*.py"))
    assert [path.name for path in tests for name in imports(path) if name.startswith("test_")] == []


def test_files_are_short() -> None:
    code = [path for path in tracked() if path.suffix == ".py"]
    assert [str(path.relative_to(ROOT)) for path in code if len(path.read_text().splitlines()) > MAX_LINES] == []


def test_no_host_of_a_registry_and_no_path_of_a_machine_is_tracked() -> None:
    hosts = re.compile(
        r"https?://[^\s\"'<>]*(?:pypi|pythonhosted|artifactory|/simple\b|nexus|devpi|anaconda\.(?:org|com))[^\s\"'<>]*"
        r"|index-url\s*[=:]|(?<![\w.])/(?:home|Users|root|work)/[A-Za-z]",
        re.IGNORECASE,
    )
    me = Path(__file__)
    for path in tracked():
        if path == me:
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        found = hosts.search(text)
        assert not found, f"{path.relative_to(ROOT)}: {found[0] if found else ''}"


def test_the_lock_has_names_and_versions_only() -> None:
    assert not (ROOT / "uv.lock").exists()
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    assert pins
    for line in pins:
        assert re.fullmatch(r"[A-Za-z0-9._-]+(\[[a-z,]+\])?==[^\s;]+( ?;.*)?", line), line


def test_every_dependency_is_imported() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    modules = {"pillow": "PIL", "scikit-learn": "sklearn"}
    found = {name.split(".")[0] for path in MODULES for name in imports(path)}
    for requirement in project["dependencies"]:
        name = re.split(r"[<>=\[;]", requirement)[0].strip().lower()
        assert name == "uv" or modules.get(name, name) in found, f"{name} is required and not imported"


def test_the_docs_name_every_section_of_the_config() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    from dogbreed_cli.config import Config

    for name in Config.__struct_fields__:
        assert name in readme, f"the README says nothing of {name}"

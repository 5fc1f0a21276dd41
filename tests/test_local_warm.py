"""Trials in forks of their study's warm interpreter: what they see, how they end, and what is left of it."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from conftest import wait_for
from local_jobs import Machine, is_gone, machine_in

# Ends in the way that --kind says. What it imports is there already, if its interpreter was warm.
TRIAL = """
import sys
asked = {"torch", "torch._dynamo", "safetensors.torch", "sagemaker_training", "smdebug"}
was_there = sorted(asked & sys.modules.keys())
import os
environment = dict(os.environ)
import argparse, atexit, json, pathlib, random, signal, threading, time
parser = argparse.ArgumentParser()
parser.add_argument("--kind")
kind = parser.parse_args().kind
print(f"loss=1 kind={kind}", flush=True)

def tell():
    import numpy, torch
    torch.set_num_threads(2)
    product = torch.ones(600, 600) @ torch.ones(600, 600)  # large enough for both threads
    weights = torch.nn.Linear(600, 600)
    torch.optim.AdamW(weights.parameters()).zero_grad()
    weights(product).sum().backward()
    child = os.fork()
    if child == 0:
        os._exit(7)
    seen = {
        "was_there": was_there, "environment": environment, "argv": sys.argv, "file": __file__, "path": sys.path,
        "product": product.sum().item(), "child": os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]),
        "drawn": [random.random(), float(numpy.random.random()), torch.initial_seed(), float(torch.rand(()))],
        "open": [name for name in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{name}")],
        "session": os.getsid(0) == os.getpgid(0) == os.getppid(), "cwd": os.getcwd(),
        "stdin": sys.stdin.read(), "main": sys.modules["__main__"].kind,
        "signals": [str(signal.getsignal(number)) for number in signal.valid_signals()],
    }
    pathlib.Path(os.environ["SM_OUTPUT_DATA_DIR"], "seen.json").write_text(json.dumps(seen))

def end_late():
    atexit.register(print, "at exit")
    threading.Thread(target=lambda: (time.sleep(0.3), print("in a thread"))).start()

def raise_error():
    raise ValueError("there are no dogs here")

{
    "tell": tell, "tell-2": tell, "late": end_late, "raise": raise_error, "three": lambda: sys.exit(3),
    "words": lambda: sys.exit("said at the end"), "killed": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "parent": lambda: (os.kill(os.getppid(), signal.SIGKILL), time.sleep(600)),
}[kind]()
"""
KINDS = ("tell", "tell-2", "late", "raise", "three", "words", "killed", "parent")
STATUS = {kind: "Completed" if kind in ("tell", "tell-2", "late") else "Failed" for kind in KINDS}


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory, image_python: Path) -> Iterator[Machine]:
    """Each kind as a trial of the ended study `warm`, in the real image, and as a job of its own, `cold-<kind>`."""
    with machine_in(tmp_path_factory.mktemp("real"), image_python.as_uri()) as machine:
        tune(machine, "warm", TRIAL, KINDS)
        for kind in KINDS[1:]:  # two tellers are enough of one kind
            machine.train(
                f"cold-{kind}", TRIAL, hyperparameters={"kind": kind}, Environment={"GIVEN": "by the request"}
            )
        assert machine.ended_tuning("warm", 120)["HyperParameterTuningJobStatus"] == "Completed"
        for kind in KINDS[1:]:
            machine.ended(f"cold-{kind}", 120)
        yield machine


@pytest.fixture
def quick(tmp_path: Path) -> Iterator[Machine]:
    with machine_in(tmp_path) as machine:
        yield machine


def tune(machine: Machine, name: str, script: str, kinds: tuple[str, ...], parallel: int = 2, **more: Any) -> None:
    """A study with one trial for each kind."""
    more = {"Environment": {"GIVEN": "by the request"}, **more}
    definition = machine.training(name, script, metrics=["loss"], **more)
    definition["StaticHyperParameters"] = definition.pop("HyperParameters")
    del definition["TrainingJobName"]
    values = {"Name": "kind", "Values": [json.dumps(kind) for kind in kinds]}
    machine.sagemaker.create_hyper_parameter_tuning_job(
        HyperParameterTuningJobName=name,
        HyperParameterTuningJobConfig={
            "Strategy": "Grid",
            "HyperParameterTuningJobObjective": {"Type": "Minimize", "MetricName": "loss"},
            "ResourceLimits": {"MaxParallelTrainingJobs": parallel},
            "ParameterRanges": {"CategoricalParameterRanges": [values]},
        },
        TrainingJobDefinition=definition,
    )


def jobs_of(machine: Machine, study: str) -> dict[str, str]:
    """Kind -> name of the trial."""
    return {json.loads(t["TunedHyperParameters"]["kind"]): t["TrainingJobName"] for t in machine.trials(study)}


def worker_log(machine: Machine, job: str) -> str:
    return (machine.home.jobs / job / "worker.log").read_text()


def seen(machine: Machine, job: str) -> dict[str, Any]:
    return json.loads(machine.unpack(job, "output.tar.gz")["seen.json"])


def neutral(text: str, job: str) -> str:
    """Without what differs between any two jobs."""
    return re.sub(r"20\d\d-\S+ \S+ ", "", text.replace(job, "JOB"))


def words(text: str, job: str) -> list[str]:
    """The toolkit breaks a line wherever it happened to read a part of it, and mixes stdout and stderr in any way."""
    return sorted(re.findall(r"[^\s:\"]+", neutral(text, job)))


def test_trials_end_as_jobs_of_their_own_do(real: Machine) -> None:
    trials = jobs_of(real, "warm")
    assert {kind: real.describe(job)["TrainingJobStatus"] for kind, job in trials.items()} == STATUS
    for kind in KINDS[1:]:
        warm, cold = (real.describe(job) for job in (trials[kind], f"cold-{kind}"))
        assert warm["TrainingJobStatus"] == cold["TrainingJobStatus"]
        reasons = [words(job.get("FailureReason", ""), job["TrainingJobName"]) for job in (warm, cold)]
        assert reasons[0] == reasons[1]
    assert worker_log(real, "tuning.warm") == ""
    assert "".join(worker_log(real, job) for job in trials.values()) == ""


@pytest.mark.parametrize("kind", ["late", "raise", "words"])
def test_trials_say_what_jobs_of_their_own_say(real: Machine, kind: str) -> None:
    """From the toolkit's first line to its last."""
    job = jobs_of(real, "warm")[kind]
    warm, cold = (words(from_the_start(real.log(name)), name) for name in (job, f"cold-{kind}"))
    assert warm == cold
    assert {"late": "exit", "raise": "Traceback", "words": "end"}[kind] in warm


def from_the_start(log: str) -> str:
    """Behind the toolkit's account of its environment."""
    return log.partition("Invoking script")[2]


def test_a_trial_finds_torch_imported_and_all_else_as_if_it_had_been_started(real: Machine) -> None:
    warm, cold = seen(real, jobs_of(real, "warm")["tell-2"]), seen(real, "cold-tell-2")
    assert warm["was_there"] == ["safetensors.torch", "torch", "torch._dynamo"]
    assert cold["was_there"] == []
    assert warm["product"] == cold["product"] == 600.0**3
    for same in ("argv", "child", "open", "session", "stdin", "main", "signals"):
        assert warm[same] == cold[same], same
    job = jobs_of(real, "warm")["tell-2"]
    for place in ("file", "cwd"):
        assert neutral(warm[place], job) == neutral(cold[place], "cold-tell-2")
    # Each folder once, where it comes first: what an import finds.
    assert neutral(str(list(dict.fromkeys(warm["path"]))), job) == neutral(
        str(list(dict.fromkeys(cold["path"]))), "cold-tell-2"
    )


def test_a_trial_has_its_own_environment(real: Machine) -> None:
    job = jobs_of(real, "warm")["tell-2"]
    warm, cold = seen(real, job)["environment"], seen(real, "cold-tell-2")["environment"]
    assert warm["OMP_NUM_THREADS"] == str(max(1, (os.cpu_count() or 1) // 2))  # two trials at a time
    assert warm["GIVEN"] == "by the request"
    # What /bin/sh adds, before it becomes the toolkit, is the shell's.
    differing = {name for name in {*warm, *cold} if warm.get(name) != cold.get(name)} - {"_", "SHLVL", "OLDPWD", "PWD"}
    assert {
        name for name in differing if neutral(warm.get(name, ""), job) != neutral(cold.get(name, ""), "cold-tell-2")
    } == {"OMP_NUM_THREADS"}


def test_siblings_draw_different_numbers(real: Machine) -> None:
    trials = jobs_of(real, "warm")
    drawn = [seen(real, trials[kind])["drawn"] for kind in ("tell", "tell-2")]
    assert [one == other for one, other in zip(*drawn, strict=True)] == [False] * 4


def test_nothing_is_left_of_a_study(real: Machine) -> None:
    wait_for(lambda: not real.processes())


# Waits until the test lets it go on, and saves when it is asked to stop.
WAIT = """
import os, pathlib, signal, sys, time
def save(*_):
    pathlib.Path(os.environ["SM_MODEL_DIR"], "model.txt").write_text("saved")
    sys.exit(0)
signal.signal(signal.SIGTERM, save)
print("loss=1 ready", flush=True)
while not os.path.exists(os.environ["GO"]):
    time.sleep(0.02)
"""


COLD = re.compile(r"no warm interpreter \(.+\): this trial starts cold\n")


def interpreter(machine: Machine) -> psutil.Process:
    """Of the study `study`."""
    return next(one for one in machine.worker("study").children() if "warm_interpreter.py" in str(one.cmdline()))


def start_waiting(machine: Machine, parallel: int) -> None:
    tune(machine, "study", WAIT, ("a", "b"), parallel, Environment={"GO": str(machine.folder / "go")})
    wait_for(lambda: machine.log("study").count("ready") == parallel if machine.said("study", "ready") else False)


def test_trials_of_a_killed_interpreter_go_on_and_the_next_start_cold(quick: Machine) -> None:
    start_waiting(quick, parallel=1)
    killed = interpreter(quick)
    killed.kill()
    wait_for(lambda: is_gone(killed))
    (quick.folder / "go").touch()
    assert quick.ended_tuning("study")["TrainingJobStatusCounters"]["Completed"] == 2
    first, second = sorted(jobs_of(quick, "study").values())
    assert worker_log(quick, first) == ""
    assert COLD.fullmatch(worker_log(quick, second))


def test_an_interpreter_with_threads_is_not_forked(quick: Machine) -> None:
    image = Path(quick.image.removeprefix("file://")).parent.parent
    torch = next(image.glob("lib/python*/site-packages")) / "torch.py"
    torch.write_text("import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()\n")
    (quick.folder / "go").touch()
    tune(quick, "study", WAIT, ("a",), 1, Environment={"GO": str(quick.folder / "go")})
    assert quick.ended_tuning("study")["TrainingJobStatusCounters"]["Completed"] == 1
    assert "cannot be forked: it has 2 threads" in worker_log(quick, "tuning.study")
    assert COLD.fullmatch(worker_log(quick, jobs_of(quick, "study")["a"]))


def test_stop_reaches_the_scripts_and_ends_the_interpreter(quick: Machine) -> None:
    start_waiting(quick, parallel=2)
    quick.sagemaker.stop_hyper_parameter_tuning_job(HyperParameterTuningJobName="study")
    assert quick.ended_tuning("study")["HyperParameterTuningJobStatus"] == "Stopped"
    for job in jobs_of(quick, "study").values():
        assert quick.describe(job)["TrainingJobStatus"] == "Stopped"
        assert quick.unpack(job, "model.tar.gz") == {"model.txt": b"saved"}
    wait_for(lambda: not quick.processes())


def test_the_interpreter_ends_with_a_killed_tuning_worker(quick: Machine) -> None:
    start_waiting(quick, parallel=2)
    warm = interpreter(quick)
    quick.worker("study").send_signal(signal.SIGKILL)
    wait_for(lambda: is_gone(warm))
    assert quick.ended_tuning("study")["HyperParameterTuningJobStatus"] == "Failed"
    wait_for(lambda: not quick.processes())

"""smdebug, the library of SageMaker Debugger, in containers that are younger than its last release. Used by debug.py.

smdebug 1.0.34 was made for numpy 1, protobuf 3 and Python 3.9. Nothing of the container's is replaced: what smdebug no
longer finds is given to it here, each with its reason, and what it would merely import stays out of the process.
"""

import atexit
import contextlib
import functools
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import types

import numpy as np
import torch

VERSION = "1.0.34"
INSTALL_SECONDS = 120
# Imported by smdebug on the way to its hook, which uses none of them: they read trials, talk to S3 and profile Python.
# pandas, boto3 and requests cost a second or two, and neither they nor pyinstrument 3 need be in the container.
UNUSED = ("boto3", "botocore", "pandas", "psutil", "pyinstrument", "requests")


def load():
    """The package smdebug.pytorch. Raises ImportError or RuntimeError, with the reason, where it cannot be had."""
    if importlib.util.find_spec("smdebug") is None:
        sys.path.append(install())
    provide_distutils()
    with python_protobuf(), placeholders():
        import smdebug.pytorch
    replace_tostring()
    accept_bfloat16()
    write_at_once()
    return smdebug.pytorch


def install():
    """Fetch smdebug into a folder of its own and return that; it lives as long as the process.

    Its requirements (protobuf<=3.20.3) would take the container's protobuf away, and a requirements.txt has no way to
    say --no-deps for one line: so here, and not there.
    """
    folder = tempfile.mkdtemp(prefix=f"smdebug-{VERSION}-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--retries", "1"]
    command += ["--no-deps", "--target", folder, f"smdebug=={VERSION}"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False)
    except subprocess.TimeoutExpired as error:
        raise ImportError(f"smdebug is not installed, and pip did not get it in {INSTALL_SECONDS} s") from error
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or [f"pip ended with {done.returncode}"])[-1]
        raise ImportError(f"smdebug is not installed, and pip cannot get it: {reason}")
    return folder


def provide_distutils():
    """Python 3.12 has none, and setuptools, which brings one, may be missing. smdebug wants one function of it."""
    if "distutils" in sys.modules or importlib.util.find_spec("distutils"):
        return

    def strtobool(value):
        known = dict.fromkeys(("y", "yes", "t", "true", "on", "1"), 1)
        known |= dict.fromkeys(("n", "no", "f", "false", "off", "0"), 0)
        if value.lower() not in known:
            raise ValueError(f"invalid truth value {value!r}")
        return known[value.lower()]

    sys.modules["distutils"] = types.ModuleType("distutils")
    sys.modules["distutils.util"] = sys.modules["distutils"].util = types.ModuleType("distutils.util")
    sys.modules["distutils.util"].strtobool = strtobool


@contextlib.contextmanager
def python_protobuf():
    """smdebug's generated classes are of protobuf 3.19; from 4 on only protobuf's Python implementation takes them."""
    name = "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION"
    try:
        old = int(importlib.metadata.version("protobuf").split(".")[0]) < 4
    except importlib.metadata.PackageNotFoundError as error:
        raise ImportError("smdebug needs protobuf, which is not installed") from error
    if old:
        yield
        return
    before = os.environ.get(name)
    os.environ[name] = "python"  # read once, when protobuf is imported
    try:
        from google.protobuf.internal import api_implementation

        if api_implementation.Type() != "python":
            raise RuntimeError("protobuf was imported before smdebug, in an implementation that smdebug cannot use")
        yield
    finally:
        del os.environ[name]
        if before is not None:
            os.environ[name] = before


class Placeholder(types.ModuleType):
    """Stands for a module that is imported and not used. Whatever is asked of it is an exception: some are caught."""

    __path__ = ()

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)
        value = type(name, (Exception,), {})
        setattr(self, name, value)
        return value


class PlaceholderFinder:
    """Finds a placeholder for every module of the packages in UNUSED."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in UNUSED:
            return importlib.machinery.ModuleSpec(name, PlaceholderFinder, is_package=True)
        return None

    @staticmethod
    def create_module(spec):
        return Placeholder(spec.name)

    @staticmethod
    def exec_module(module):
        pass


@contextlib.contextmanager
def placeholders():
    """For the time of smdebug's import. Packages that the process has already stay what they are."""
    sys.meta_path.insert(0, PlaceholderFinder)
    try:
        yield
    finally:
        sys.meta_path.remove(PlaceholderFinder)
        for name in [name for name, module in sys.modules.items() if isinstance(module, Placeholder)]:
            del sys.modules[name]


class Array(np.ndarray):
    """With the method that left numpy in 2.3; it was another name of tobytes."""

    def tostring(self):
        return self.tobytes()


def replace_tostring():
    """smdebug calls it on every tensor that it writes."""
    from smdebug.core import writer

    make = writer.make_tensor_proto
    if make.__module__ != __name__:  # once a process
        writer.make_tensor_proto = lambda nparray_data, tag: make(np.asarray(nparray_data).view(Array), tag)


def accept_bfloat16():
    """Under autocast a module's outputs may be bfloat16, which numpy does not have: they are saved as float32."""
    from smdebug.pytorch.hook import Hook

    make = Hook._make_numpy_array

    def make_numpy_array(value):
        is_half = isinstance(value, torch.Tensor) and value.dtype == torch.bfloat16
        return make(value.float() if is_half else value)

    if make.__module__ != __name__:
        Hook._make_numpy_array = staticmethod(make_numpy_array)


def write_at_once():
    """smdebug opens a file for each step that it saves, and for each file calculates 1,500 edges of histograms that
    nobody asked for, starts a thread and waits for its end. That is most of a millisecond, a whole step of a small
    training. Here the thread's work is done by whoever asked for it, and the edges are calculated once."""
    from smdebug.core import writer
    from smdebug.core.tfevent import event_file_writer

    if hasattr(writer._get_default_bins, "cache_info"):  # once a process
        return
    writer._get_default_bins = functools.cache(writer._get_default_bins)
    thread = event_file_writer._EventLoggerThread
    thread.start = thread.join = lambda self: None

    def write_event(self, event):
        self._event_queue.put(event)
        if event is not self._sentinel_event:
            self._event_queue.put(self._sentinel_event)
        self._worker.run()  # up to the sentinel

    event_file_writer.EventFileWriter.write_event = write_event

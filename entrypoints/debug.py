"""SageMaker Debugger's hook on the head and the loss, used by train.py.

SageMaker (or the local worker) writes debughookconfig.json for a training job that asks for Debugger; a tuning trial
never has one. Of several processes rank 0 alone has the hook, which sees its own batches. A job must not fail because
of its debugger: whatever goes wrong is said in the log and in metrics.json.
"""

import atexit
import json
import os
import sys
from pathlib import Path

from distributed import is_main, say


def config_path():
    """Where debughookconfig.json is, or would be."""
    base = os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")
    return Path(os.environ.get("SMDEBUG_CONFIG_FILE_PATH", f"{base}/input/config/debughookconfig.json"))


class Debugger:
    """The hook while it is attached, nothing otherwise. `why` says why there is none."""

    def __init__(self, head, loss_fn, resumed=False):
        self.hook = None
        self.why = None
        self.modules = (head, loss_fn)
        path = config_path()
        if not is_main():
            self.why = "rank 0 has the hook"
            return
        if not path.exists():
            self.why = f"no {path.name}: the job did not ask for Debugger"
            say(f"debugger: off ({self.why})")
            return
        try:
            self._attach(path, head, loss_fn, resumed)
            say(f"debugger: saving tensors to {self.hook.out_dir}")
        except Exception as error:  # smdebug fails in many ways: missing packages, numpy, protobuf, paths
            self._give_up(error)

    def _attach(self, path, head, loss_fn, resumed):
        folder = json.loads(path.read_text()).get("LocalPath")
        if folder and Path(folder, "training_job_end.ts").exists():  # smdebug says AttributeError: prepared_collections
            raise RuntimeError(f"LocalPath {folder} holds the tensors of another job")
        os.environ.setdefault("SMDEBUG_LOG_LEVEL", "warning")  # at INFO it writes more lines than the training
        import smdebug.pytorch as smd  # costs seconds, so only here
        from smdebug.core.state_store import StateStore
        from smdebug.core.utils import error_handling_agent

        # Beside the checkpoints smdebug keeps the number of its last step, and counts on from there, whoever's it was.
        counted = StateStore()._states_file
        if counted and not resumed:
            Path(counted).unlink(missing_ok=True)
        self.agent = error_handling_agent
        self.hook = hook = smd.Hook.create_from_json_file(str(path))
        # A job that fails is the one whose tensors will be read. This runs before smdebug's own handler.
        atexit.register(self.close)
        # smdebug swallows its own errors (and switches itself off) only under its default configuration, and lets
        # them kill the training under any other. It asks the hook which one it is, from within the except block.
        hook.has_default_configuration = self._note_error
        saving_gradients = hook.backward_hook  # the one callback that smdebug forgot to guard like the others
        hook.backward_hook = lambda name: error_handling_agent.catch_smdebug_errors()(saving_gradients(name))
        # The head alone: hooks on a whole ResNet cost tens of percent, and show layers that never change.
        hook.register_module(head)
        hook.register_loss(loss_fn)
        if self.agent.disable_smdebug:
            raise RuntimeError(self.why or "smdebug switched itself off, see above")
        self.modes = {"TRAIN": smd.modes.TRAIN, "EVAL": smd.modes.EVAL}

    def _note_error(self):
        self.why = repr(sys.exc_info()[1])
        return True

    def _give_up(self, error):
        self.why = self.why or f"{type(error).__name__}: {error}"
        self._detach()
        say(f"WARNING: debugger: no tensors are saved, training goes on without. {self.why}")

    def set_mode(self, mode):
        """Save the coming steps as those of `mode`, TRAIN or EVAL."""
        if self.hook:
            self.hook.set_mode(self.modes[mode])

    def close(self):
        """Write what is left, mark the end, and leave nothing registered on the modules. Once."""
        if not self.hook:
            return
        from smdebug.core.access_layer import training_has_ended

        job = os.environ.pop("TRAINING_JOB_NAME", None)
        try:
            if self.agent.disable_smdebug:
                raise RuntimeError("smdebug switched itself off, see above")
            self.hook.close()
            # With TRAINING_JOB_NAME set smdebug leaves this to a platform of AWS's, and readers would wait for ever.
            training_has_ended(self.hook.out_dir)
            self._detach()
        except Exception as error:
            self._give_up(error)
        finally:
            if job is not None:
                os.environ["TRAINING_JOB_NAME"] = job

    def _detach(self):
        """smdebug has no unregister: its hooks (bound methods of the hook) are taken off one by one."""
        if self.hook:
            atexit.unregister(self.hook._cleanup)  # else it closes a second time at exit
        self.hook = None
        for module in (m for top in self.modules for m in top.modules()):
            module._forward_hooks.clear()
            module._forward_pre_hooks.clear()
            module.__dict__.pop("_module_name", None)
            for parameter in module.parameters(recurse=False):
                parameter._backward_hooks = None

    def report(self):
        """For metrics.json."""
        return {"hook": self.why is None, "why": self.why}

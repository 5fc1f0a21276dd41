"""SageMaker Debugger's hook on what learns and on the loss, used by train.py.

Asked for by --debug-collections, or by SageMaker itself with debughookconfig.json; a tuning trial has neither. Of
several processes rank 0 alone has the hook, which sees its own batches. A job must not fail because of its debugger:
whatever goes wrong is said in the log and in metrics.json.
"""

import atexit
import json
import os
import shutil
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from distributed import is_main, say

SAVINGS = 25  # of gradients, weights and biases over a whole job
LOSS_SAVINGS = {"train": 50, "eval": 15}  # each loss of a step is a file of its own
# Whole tensors beyond this cost seconds of compressing and uploading output.tar.gz: then their reductions are saved.
MOST_BYTES = 32 * 2**20
REDUCTIONS = "mean,abs_mean,min,max,std,l2"


@dataclass(frozen=True)
class Steps:
    """Batches of an epoch in each mode, the epochs of the job, and how many of them an earlier run has finished."""

    train: int
    evaluate: int
    epochs: int
    finished: int = 0

    def done(self):
        return {"TRAIN": self.train * self.finished, "EVAL": self.evaluate * self.finished}


def config_path():
    """Where debughookconfig.json is, or would be."""
    base = os.environ.get("SAGEMAKER_BASE_DIR", "/opt/ml")
    return Path(os.environ.get("SMDEBUG_CONFIG_FILE_PATH", f"{base}/input/config/debughookconfig.json"))


def every(steps, savings):
    """The interval that makes about so many savings of so many steps."""
    return max(1, -(-steps // savings))


def hook_config(args, steps, learnt_bytes):
    """What the hyperparameters ask for, in the form of debughookconfig.json."""
    names, total = args.debug_collections.split(","), steps.train * steps.epochs
    interval = args.debug_save_interval or every(total, SAVINGS)
    copies = ("gradients" in names) + bool({"weights", "biases"} & set(names))
    reductions = args.debug_reductions
    if not reductions and copies * learnt_bytes * (total // interval) > MOST_BYTES:
        reductions = REDUCTIONS
    parameters = {"save_interval": str(interval)}
    if reductions:
        parameters["reductions"] = ",".join(f"{r}_norm" if r[-2:] in ("l1", "l2") else r for r in reductions.split(","))
    in_training = parameters | {"eval.end_step": "0"}  # evaluation changes neither weights nor biases
    known = {
        "losses": {
            "train.save_interval": str(every(total, LOSS_SAVINGS["train"])),
            "eval.save_interval": str(every(steps.evaluate * steps.epochs, LOSS_SAVINGS["eval"])),
        },
        "custom": parameters | {"include_regex": args.debug_include},
        "gradients": parameters,
        "weights": in_training,
        "biases": in_training,
    }
    return {
        "LocalPath": str(Path(args.output_data_dir, "debug-output").absolute()),
        "HookParameters": {"save_interval": str(interval)},
        "CollectionConfigurations": [{"CollectionName": name, "CollectionParameters": known[name]} for name in names],
    }


def describe(error):
    return f"{type(error).__name__}: {error}"


class Debugger:
    """The hook while it is attached, nothing otherwise. `why` says why there is none."""

    def __init__(self, args, head, network, loss_fn, steps, scaler=None):
        self.hook, self.why, self.config, self.scaler = None, None, {}, scaler
        # The head alone where nothing else learns, for other layers would never change.
        learns = network if args.unfreeze != "none" or "custom" in args.debug_collections.split(",") else head
        self.modules = (learns, loss_fn)
        path = config_path()
        if not is_main():
            self.why = "rank 0 has the hook"
        elif not path.exists() and not args.debug_collections:
            self.why = f"neither debug-collections nor a {path.name} asks for it"
            say(f"debugger: off ({self.why})")
        else:
            try:
                self.config = json.loads(path.read_text()) if path.exists() else self._own_config(args, steps)
                self._attach(steps)
                say(f"debugger: saving tensors ({', '.join(self._collections())}) to {self.hook.out_dir}")
            except Exception as error:  # smdebug fails in many ways: missing packages, numpy, protobuf, paths
                self._give_up(error)

    def _own_config(self, args, steps):
        learnt = sum(p.nbytes for p in self.modules[0].parameters() if p.requires_grad)
        config = hook_config(args, steps, learnt)
        shutil.rmtree(config["LocalPath"], ignore_errors=True)  # of an earlier run by hand
        reduced = any("reductions" in c["CollectionParameters"] for c in config["CollectionConfigurations"])
        if reduced and not args.debug_reductions:
            say(f"debugger: whole tensors would be more than {MOST_BYTES >> 20} MB, so these of each: {REDUCTIONS}")
        return config

    def _attach(self, steps):
        folder = self.config.get("LocalPath")
        if folder and Path(folder, "training_job_end.ts").exists():  # smdebug says AttributeError: prepared_collections
            raise RuntimeError(f"LocalPath {folder} holds the tensors of another job")
        os.environ.setdefault("SMDEBUG_LOG_LEVEL", "warning")  # at INFO it writes more lines than the training
        import smdebug_shim  # costs a second, so only here

        smd = smdebug_shim.load()
        from smdebug.core.utils import error_handling_agent

        self.agent = error_handling_agent
        with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
            json.dump(self.config, file)
            file.flush()
            self.hook = hook = smd.Hook.create_from_json_file(file.name)
        # A job that fails is the one whose tensors will be read. This runs before smdebug's own handler.
        atexit.register(self.close)
        # smdebug swallows its own errors (and switches itself off) only under its default configuration, and lets
        # them kill the training under any other. It asks the hook which one it is, from within the except block.
        hook.has_default_configuration = self._note_error
        self.modes = {"TRAIN": smd.modes.TRAIN, "EVAL": smd.modes.EVAL, "GLOBAL": smd.modes.GLOBAL}
        self._count_from(steps)
        self._replace_callbacks()
        hook.register_module(self.modules[0])
        hook.register_loss(self.modules[1])
        if self.agent.disable_smdebug:
            raise RuntimeError(self.why or "smdebug switched itself off, see above")

    def _count_from(self, steps):
        """smdebug keeps the number of its last step beside the checkpoints, whoever's those are. The history knows."""
        hook, done = self.hook, steps.done()
        hook.state_store._checkpoint_dir = None
        hook.step = hook.init_step = sum(done.values()) - 1
        hook.mode_steps = {self.modes[name]: count - 1 for name, count in done.items()}
        hook.mode_steps[self.modes["GLOBAL"]] = hook.step

    def _replace_callbacks(self):
        """Of a step that it does not save smdebug makes as much work as of one that it does. Here such steps are only
        counted; smdebug sees the ones that it saves and the next one, at which it closes the files of the last."""
        hook, agent = self.hook, self.agent
        begin, forward, backward = hook.forward_pre_hook, hook.forward_hook, hook.backward_hook
        seen = True

        def forward_pre_hook(module, inputs):
            nonlocal seen
            number = hook.mode_steps[hook.mode] + 1
            seen = not hook.prepared_collections or hook.writer is not None
            seen = seen or any(c.save_config.should_save_step(hook.mode, number) for c in hook._collections_to_save)
            if seen:
                begin(module, inputs)
                return
            hook.step += 1
            hook.mode_steps[hook.mode] = number
            hook.mode_steps[self.modes["GLOBAL"]] = hook.step
            hook._collections_to_save_for_step = set()

        def forward_hook(module, inputs, outputs):
            if seen:
                forward(module, inputs, outputs)

        def save_learnt(module):
            """smdebug's own saves layers that are frozen, too."""
            for name, parameter in module.named_parameters():
                if parameter.requires_grad:
                    hook._save_for_tensor(f"{module._get_name()}_{name}", parameter.data)

        def backward_hook(name):
            # The one callback that smdebug forgot to guard like the others.
            save = agent.catch_smdebug_errors()(backward(name))

            def save_gradient(gradient):
                if seen:
                    save(self._unscaled(gradient))

            return save_gradient

        hook.forward_pre_hook, hook.forward_hook, hook._log_params = forward_pre_hook, forward_hook, save_learnt
        hook.backward_hook = backward_hook

    def _unscaled(self, gradient):
        """float16's losses are scaled up before the backward pass, and so are its gradients, thousands of times."""
        if self.scaler is None or not self.scaler.is_enabled():
            return gradient
        return gradient / self.scaler.get_scale()

    def _note_error(self):
        self.why = describe(sys.exc_info()[1])
        return True

    def _give_up(self, error):
        self.why = self.why or describe(error)
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

    def _collections(self):
        return [collection["CollectionName"] for collection in self.config.get("CollectionConfigurations") or ()]

    def report(self):
        """For metrics.json."""
        interval = (self.config.get("HookParameters") or {}).get("save_interval", 500)  # smdebug's default
        return {
            "hook": self.why is None,
            "why": self.why,
            "collections": self._collections(),
            "save_interval": int(interval) if self.config else None,
        }

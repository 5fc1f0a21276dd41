"""How a training is watched: our own hook and sampler by hyperparameters; on demand AWS's Debugger with its rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dogbreed_cli.config import Config
    from dogbreed_cli.requests import Site

# AWS's built-in Debugger rules that need only what the hook saves by default.
AWS_RULES = ("LossNotDecreasing", "Overfit", "Overtraining", "VanishingGradient", "ExplodingTensor")
# Steps between two savings where AWS's configuration has to name them and nobody did.
USUAL_INTERVAL = 10


# Not through DebugHookConfig and ProfilerConfig: AWS refuses those to new customers.


def debugged(config: Config) -> dict[str, Any]:
    """Hyperparameters of the script's hook, whose tensors come with the job's output. What is off is left out."""
    debugger = config.debugger
    hook = {
        "debug-collections": ",".join(debugger.collections),
        "debug-include": debugger.include,
        "debug-save-interval": debugger.save_interval,
        "debug-reductions": ",".join(debugger.reductions),
    }
    return {name: value for name, value in hook.items() if value} if debugger.enabled else {}


def profiled(config: Config) -> dict[str, Any]:
    """Hyperparameters of the script's sampler and of torch's profiler."""
    profiler = {
        "profile-interval": config.debugger.profiler_interval,
        "profile-torch": config.debugger.profiler_steps,
    }
    return {name: value for name, value in profiler.items() if value}


def aws_debugging(config: Config, site: Site) -> dict[str, Any]:
    """The part of CreateTrainingJob that is Debugger's; its hook's configuration takes the place of `debugged`."""
    debugger, output = config.debugger, f"s3://{site.bucket}/{config.prefix}/jobs"
    return {
        "DebugHookConfig": {
            "S3OutputPath": output,
            "CollectionConfigurations": [collection(config, name) for name in debugger.collections],
        },
        "ProfilerConfig": {
            "S3OutputPath": output,
            "ProfilingIntervalInMilliseconds": debugger.profiler_interval or 500,
        },
        "DebugRuleConfigurations": [rule(site, name) for name in AWS_RULES],
        "ProfilerRuleConfigurations": [rule(site, "ProfilerReport")],
    }


def collection(config: Config, name: str) -> dict[str, Any]:
    """Losses at every step."""
    debugger = config.debugger
    parameters = {"save_interval": "1" if name == "losses" else str(debugger.save_interval or USUAL_INTERVAL)}
    if name == "custom":
        parameters["include_regex"] = debugger.include
    if debugger.reductions and name != "losses":
        parameters["reductions"] = ",".join("l2_norm" if one == "l2" else one for one in debugger.reductions)
    return {"CollectionName": name, "CollectionParameters": parameters}


def rule(site: Site, name: str) -> dict[str, Any]:
    return {
        "RuleConfigurationName": name,
        "RuleEvaluatorImage": site.rule_image,
        "RuleParameters": {"rule_to_invoke": name},
    }

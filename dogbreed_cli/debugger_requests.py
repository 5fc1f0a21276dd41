"""The part of a training job's request that is SageMaker Debugger's: its hook, its profiler, AWS's own rules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dogbreed_cli.config import Config
    from dogbreed_cli.requests import Site

# AWS's built-in Debugger rules that need only what the hook saves by default.
AWS_RULES = ("LossNotDecreasing", "Overfit", "Overtraining", "VanishingGradient", "ExplodingTensor")


def debugging(config: Config, site: Site) -> dict[str, Any]:
    """Losses at every step, the other collections of the head every `save_interval` steps: about 2 % of the time."""
    debugger, every = config.debugger, str(config.debugger.save_interval)
    collections = [
        {"CollectionName": name, "CollectionParameters": {"save_interval": "1" if name == "losses" else every}}
        for name in debugger.collections
    ]
    output = f"s3://{site.bucket}/{config.prefix}/jobs"
    request: dict[str, Any] = {
        "DebugHookConfig": {"S3OutputPath": output, "CollectionConfigurations": collections},
        "ProfilerConfig": {"S3OutputPath": output, "ProfilingIntervalInMilliseconds": debugger.profiler_interval},
    }
    if debugger.aws_rules:
        request["DebugRuleConfigurations"] = [rule(site, name) for name in AWS_RULES]
        request["ProfilerRuleConfigurations"] = [rule(site, "ProfilerReport")]
    return request


def rule(site: Site, name: str) -> dict[str, Any]:
    return {
        "RuleConfigurationName": name,
        "RuleEvaluatorImage": site.rule_image,
        "RuleParameters": {"rule_to_invoke": name},
    }

"""AWS's Debugger and Profiler rules under their names, parameters and defaults, evaluated here.

    verdicts = evaluate_rules(Observed(...))       # every rule, once
    to_aws_json(verdicts[0])                       # as AWS's ProfilerReport has it

Sources: "List of Debugger built-in rules" and "List of Debugger built-in profiler rules" of the SageMaker developer
guide, and the parameters of awslabs/sagemaker-debugger-rulesconfig. AWS evaluates while the job runs and stops at the
first finding; here a job is judged as a whole.
"""

from dogbreed_cli.report import debugger_rules, loss_rules, profiler_rules, timeline_rules
from dogbreed_cli.report.verdict import (
    NOT_EVALUATED,
    NOT_TRIGGERED,
    TRIGGERED,
    Observed,
    Rule,
    Verdict,
    rule_name,
    to_aws_json,
)

__all__ = [
    "NOT_EVALUATED",
    "NOT_TRIGGERED",
    "RULES",
    "TRIGGERED",
    "Observed",
    "Verdict",
    "evaluate_rule",
    "evaluate_rules",
    "to_aws_json",
]

# In the order of the report.
RULES: dict[str, Rule] = {
    rule_name(rule.__name__): rule
    for rule in (
        loss_rules.loss_not_decreasing,
        loss_rules.overfit,
        loss_rules.overtraining,
        debugger_rules.vanishing_gradient,
        debugger_rules.exploding_tensor,
        debugger_rules.poor_weight_initialization,
        debugger_rules.dead_relu,
        debugger_rules.class_imbalance,
        debugger_rules.all_zero,
        profiler_rules.cpu_bottleneck,
        profiler_rules.gpu_memory_increase,
        profiler_rules.io_bottleneck,
        profiler_rules.load_balancing,
        profiler_rules.low_gpu_utilization,
        timeline_rules.max_initialization_time,
        timeline_rules.step_outlier,
        timeline_rules.dataloader,
        profiler_rules.batch_size,
        profiler_rules.overall_system_usage,
        timeline_rules.overall_framework_metrics,
    )
}


def evaluate_rules(observed: Observed) -> tuple[Verdict, ...]:
    return tuple(rule(observed) for rule in RULES.values())


def evaluate_rule(name: str, observed: Observed) -> Verdict:
    return RULES[name](observed)

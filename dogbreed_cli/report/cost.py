"""What the job was billed for: seconds, instances and a price that whoever asks for the report brings along."""

from dataclasses import dataclass

from dogbreed_cli.report.job import Job


@dataclass(frozen=True)
class Rate:
    """USD for one instance and hour. `source` says where and of when the price is; for an unknown one (None), why."""

    usd_per_hour: float | None
    source: str


FREE = Rate(0.0, "it ran on this machine")
UNASKED = Rate(None, "no price was asked for")


@dataclass(frozen=True)
class Cost:
    """`seconds` of each of `instances`, those in a warm pool too. Amounts are in USD, None where unknown."""

    usd: float | None
    spot_saving_usd: float | None
    seconds: int | None
    instances: int
    rate: Rate


def weigh(job: Job, rate: Rate) -> Cost:
    instances = job.instance_count or 1
    if job.billable_seconds is None:
        return Cost(None, None, None, instances, rate)
    seconds = job.billable_seconds + job.retained_seconds
    if rate.usd_per_hour is None:
        return Cost(None, None, seconds, instances, rate)
    usd_per_second = rate.usd_per_hour * instances / 3600
    saved = (
        (job.training_seconds - job.billable_seconds) * usd_per_second if job.spot and job.training_seconds else None
    )
    return Cost(seconds * usd_per_second, saved, seconds, instances, rate)

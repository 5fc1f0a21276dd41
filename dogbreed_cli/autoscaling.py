"""More instances for a real-time endpoint when more is asked of it: Application Auto Scaling, by deploy.max_instances.

Who never sets that key needs no permission for it: to them nothing scales.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from dogbreed_cli import endpoint_requests
from dogbreed_cli.resources import if_allowed

if TYPE_CHECKING:
    from dogbreed_cli.config import Config
    from dogbreed_cli.session import Session


def start_scaling(session: Session, config: Config, name: str) -> None:
    """Of an endpoint in service. Raises ClientError."""
    client = session.client("application-autoscaling")
    client.register_scalable_target(**endpoint_requests.scaling_target(config, name))
    client.put_scaling_policy(**endpoint_requests.scaling_policy(config, name))


def stop_scaling(session: Session, name: str) -> None:
    """Its policies and alarms go with it. What does not scale is left as it is. Raises ClientError.

    AWS takes no other instance type, and no end, for an endpoint that scales.
    """
    if not session.scales:
        return
    client, scaled = session.client("application-autoscaling"), endpoint_requests.scaled(name)
    with if_allowed(session, "the scaling targets"):
        there = client.describe_scalable_targets(
            ServiceNamespace=scaled["ServiceNamespace"], ResourceIds=[scaled["ResourceId"]]
        )
        for _ in there["ScalableTargets"]:  # one at most
            client.deregister_scalable_target(**scaled)

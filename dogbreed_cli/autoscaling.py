"""More instances for a real-time endpoint when more is asked of it: Application Auto Scaling, by deploy.max_instances.

Who never sets that key needs no permission for it: to them nothing scales. What others have set up for an endpoint
under another policy's name is theirs, and left alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dogbreed_cli import endpoint_requests
from dogbreed_cli.resources import if_allowed

if TYPE_CHECKING:
    from dogbreed_cli.session import Session

# Of what AWS describes, what its requests have.
LIMITS = ("MinCapacity", "MaxCapacity")
POLICY = ("PolicyName", "PolicyType", "TargetTrackingScalingPolicyConfiguration")


@dataclass(frozen=True)
class Scaling:
    """The two requests that make an endpoint scale."""

    limits: dict[str, Any]
    policy: dict[str, Any]

    @property
    def most(self) -> int:
        """Instances."""
        return self.limits["MaxCapacity"]


def find_scaling(session: Session, name: str) -> Scaling | None:
    """As it scales now; None where it does not. Raises ClientError."""
    if not session.scales:
        return None
    client, scaled = session.client("application-autoscaling"), endpoint_requests.scaled(name)
    service, variant = scaled["ServiceNamespace"], scaled["ResourceId"]
    with if_allowed(session, "the scaling policies"):
        policies = client.describe_scaling_policies(ServiceNamespace=service, ResourceId=variant)["ScalingPolicies"]
        ours = [one for one in policies if one["PolicyName"] == endpoint_requests.scaling_policy_name(name)]
        for policy in ours:  # one at most, and one target
            targets = client.describe_scalable_targets(ServiceNamespace=service, ResourceIds=[variant])
            for target in targets["ScalableTargets"]:
                return Scaling(scaled | pick(target, LIMITS), scaled | pick(policy, POLICY))
    return None


def pick(described: dict[str, Any], members: tuple[str, ...]) -> dict[str, Any]:
    return {member: described[member] for member in members}


def start_scaling(session: Session, scaling: Scaling) -> None:
    """Of an endpoint in service. Raises ClientError."""
    client = session.client("application-autoscaling")
    client.register_scalable_target(**scaling.limits)
    client.put_scaling_policy(**scaling.policy)


def stop_scaling(session: Session, name: str) -> None:
    """Its policy and alarms go with it. What does not scale is left as it is. Raises ClientError."""
    if find_scaling(session, name):
        session.client("application-autoscaling").deregister_scalable_target(**endpoint_requests.scaled(name))

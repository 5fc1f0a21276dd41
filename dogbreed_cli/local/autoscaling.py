"""Application Auto Scaling, for clients that ask whether an endpoint scales: on this machine none does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class AutoScaling:
    def describe_scaling_policies(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"ScalingPolicies": []}

    def describe_scalable_targets(self, request: Mapping[str, Any]) -> dict[str, Any]:
        return {"ScalableTargets": []}

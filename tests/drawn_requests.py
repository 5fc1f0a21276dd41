"""Values for botocore's shapes, drawn by chance: what a client of any operation may send or be answered."""

from __future__ import annotations

import random
import string
from datetime import UTC, datetime
from typing import Any

SERVICES = ["sagemaker", "sagemaker-runtime", "logs", "sts", "iam", "s3"]


def draw(shape: Any, rng: random.Random, depth: int = 0, is_header: bool = False) -> Any:
    """Any value that the shape's type allows; patterns and lengths are not its concern."""
    match shape.type_name:
        case "structure":
            members = dict(shape.members)
            if shape.is_tagged_union:
                members = dict([rng.choice(list(members.items()))])
            # At least one member: forms and XML cannot tell an empty structure from none.
            sure = rng.choice(list(members)) if members else ""
            return {
                name: draw(member, rng, depth + 1, "location" in member.serialization)
                for name, member in members.items()
                if name == sure or member.serialization.get("location") == "uri" or rng.random() < 0.7 / (depth + 1)
            }
        case "list":
            return [draw(shape.member, rng, depth + 1, is_header) for _ in range(rng.randint(1, 3))]
        case "map":
            return {f"key{n}": draw(shape.value, rng, depth + 1, is_header) for n in range(rng.randint(1, 3))}
        case "boolean":
            return rng.random() < 0.5
        case "integer" | "long":
            return rng.randint(-(2**31), 2**31)
        case "float" | "double":
            return rng.choice([0.0, 1.5, -2.25e-7, 1e300])
        case "timestamp":
            return datetime.fromtimestamp(rng.randint(0, 2_000_000_000), UTC)
        case "blob":
            return rng.randbytes(rng.randint(1, 20))
    if getattr(shape, "enum", None):
        return rng.choice(shape.enum)
    alphabet = string.ascii_letters + string.digits + ("-_." if is_header else " <>&\"'%+?#/=é日🐕\\")
    return "".join(rng.choice(alphabet) for _ in range(rng.randint(1, 12)))

"""The least that has to be allowed on AWS, as data: the policies of whoever types `dogbreed`, and of the jobs' role.

Everything is built from two tables of IAM actions; a test compares them with the calls that the code makes and with
those that a whole run sent. The files in iam/ are these policies with the names left open (BUCKET, ROLE_ARN, ...);
`dogbreed check --policies DIR` writes them filled in.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SERVICE = "sagemaker.amazonaws.com"
SCHEDULER = "scheduler.amazonaws.com"
SCALING_SERVICE = "sagemaker.application-autoscaling.amazonaws.com"
# A role is handed to one service only.
HANDED_TO = {"PassRole": SERVICE, "OnlyForExpiresRole": SCHEDULER}
# API operations that IAM asks nothing for.
FREE = ("sts:GetCallerIdentity",)


@dataclass(frozen=True)
class Place:
    """The names that a policy is about. The defaults are the placeholders of the files in iam/."""

    bucket: str = "BUCKET"
    prefix: str = "PREFIX"
    project: str = "PROJECT"
    role_arn: str = "ROLE_ARN"
    region: str = "REGION"
    account: str = "ACCOUNT"
    expiry_role_arn: str = "EXPIRY_ROLE_ARN"

    @property
    def partition(self) -> str:
        arn = self.role_arn if self.role_arn.startswith("arn:") else "arn:aws:"
        return arn.split(":")[1]

    def arn(self, service: str, resource: str) -> str:
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"

    def named(self, *types: str) -> list[str]:
        """SageMaker's resources whose names begin with the project's. In their ARNs AWS writes names in lower case."""
        names = [self.project]
        if self != Place() and self.project != self.project.lower():
            names.append(self.project.lower())
        return [self.arn("sagemaker", f"{kind}/{name}-*") for kind in types for name in names]

    def resources(self, scope: str) -> list[str]:
        """The ARNs that a scope of the tables stands for."""
        own = f"arn:{self.partition}:iam::{self.account}:"
        named = {
            "Bucket": [f"arn:{self.partition}:s3:::{self.bucket}"],
            "Objects": [f"arn:{self.partition}:s3:::{self.bucket}/{self.prefix}/*"],
            "TrainingJobs": self.named("training-job"),
            "TuningJobs": self.named("hyper-parameter-tuning-job"),
            "Models": self.named("model"),
            "EndpointConfigs": self.named("endpoint-config"),
            "Endpoints": self.named("endpoint"),
            # Whose a thing is stands in its tags, so the tags of what is not ours are read, too.
            "Tags": [self.arn("sagemaker", "*")],
            "Logs": [self.arn("logs", "log-group:/aws/sagemaker/*")],
            "PassRole": [self.role_arn],
            "OnlyForExpires": [self.arn("scheduler", f"schedule/default/{self.project}-*")],
            "OnlyForExpiresRole": [self.expiry_role_arn],
            "OnlyForScaling": [self.arn("application-autoscaling", "scalable-target/*")],
            "OnlyForScalingRole": [f"{own}role/aws-service-role/{SCALING_SERVICE}/*"],
            "OnlyForScalingAlarms": [self.arn("cloudwatch", "alarm:TargetTracking-*")],
            "Images": [f"arn:{self.partition}:ecr:{self.region}:*:repository/*"],
            "OnlyForCheckRoles": [f"{own}role/*"],
            "OnlyForCheckCaller": [f"{own}user/*", f"{own}role/*"],
        }
        return named.get(scope, ["*"])


@dataclass(frozen=True)
class Operation:
    """An IAM action, the scopes that it is allowed in, what needs it, and the API operations that it allows.

    IAM's names are not always the API's: `api` says which calls an action is for. It is the action itself where
    nothing is said, and empty for what AWS asks for behind another call.
    """

    action: str
    scopes: tuple[str, ...]
    purpose: str
    api: tuple[str, ...] = field(default=("",))

    @property
    def calls(self) -> tuple[str, ...]:
        return tuple(name or self.action for name in self.api)

    @property
    def is_optional(self) -> bool:
        """Without it a command says less, and does no less."""
        return all(scope.startswith("OnlyFor") for scope in self.scopes)


JOBS, SERVING = ("TrainingJobs", "TuningJobs"), ("Models", "EndpointConfigs", "Endpoints")
CALLER = (
    Operation("s3:CreateBucket", ("Bucket",), "upload, where the bucket is missing"),
    Operation("s3:ListBucket", ("Bucket",), "everything that reads S3", ("s3:ListObjectsV2", "s3:HeadBucket")),
    Operation("s3:GetObject", ("Objects",), "the manifest, a job's outputs"),
    Operation("s3:PutObject", ("Objects",), "upload; scripts and weights", (
        "s3:PutObject", "s3:CreateMultipartUpload", "s3:UploadPart", "s3:CompleteMultipartUpload")),
    Operation("s3:AbortMultipartUpload", ("Objects",), "an upload that was cut short"),
    Operation("s3:DeleteObject", ("Objects",), "upload of changed data; teardown --data", ("s3:DeleteObjects",)),
    Operation("sagemaker:CreateTrainingJob", ("TrainingJobs",), "train"),
    Operation("sagemaker:CreateHyperParameterTuningJob", ("TuningJobs",), "tune"),
    Operation("sagemaker:CreateModel", ("Models",), "deploy"),
    Operation("sagemaker:CreateEndpointConfig", ("EndpointConfigs",), "deploy"),
    Operation("sagemaker:CreateEndpoint", ("Endpoints", "EndpointConfigs"), "deploy"),
    Operation("sagemaker:UpdateEndpoint", ("Endpoints", "EndpointConfigs"), "deploy, of another model"),
    Operation("sagemaker:AddTags", (*JOBS, *SERVING), "whatever is created, since it is created with tags", ()),
    Operation("iam:PassRole", ("PassRole", "OnlyForExpiresRole"), "train, tune, deploy: SageMaker gets the jobs' role, "
              "EventBridge Scheduler its own", ()),
    Operation("sagemaker:DescribeTrainingJob", ("TrainingJobs",), "train, report, deploy, logs"),
    Operation("sagemaker:DescribeHyperParameterTuningJob", ("TuningJobs",), "tune, train --from-best, report"),
    Operation("sagemaker:DescribeModel", ("Models",), "deploy, teardown"),
    Operation("sagemaker:DescribeEndpointConfig", ("EndpointConfigs",), "deploy, status, teardown"),
    Operation("sagemaker:DescribeEndpoint", ("Endpoints",), "deploy, predict, teardown"),
    Operation("sagemaker:ListTrainingJobsForHyperParameterTuningJob", ("TuningJobs",), "tune, report"),
    Operation("sagemaker:StopTrainingJob", ("TrainingJobs",), "teardown"),
    Operation("sagemaker:UpdateTrainingJob", ("TrainingJobs",), "teardown, of a warm pool"),
    Operation("sagemaker:StopHyperParameterTuningJob", ("TuningJobs",), "teardown"),
    Operation("sagemaker:DeleteEndpoint", ("Endpoints",), "teardown"),
    Operation("sagemaker:DeleteEndpointConfig", ("EndpointConfigs",), "teardown"),
    Operation("sagemaker:DeleteModel", ("Models",), "teardown"),
    Operation("sagemaker:InvokeEndpoint", ("Endpoints",), "predict"),
    Operation("sagemaker:ListTags", ("Tags",), "status, teardown: what is the project's"),
    Operation("sagemaker:ListTrainingJobs", ("Lists",), "status, report, deploy, teardown"),
    Operation("sagemaker:ListHyperParameterTuningJobs", ("Lists",), "status, train --from-best, teardown"),
    Operation("sagemaker:ListEndpoints", ("Lists",), "status, teardown"),
    Operation("sagemaker:ListEndpointConfigs", ("Lists",), "teardown"),
    Operation("sagemaker:ListModels", ("Lists",), "teardown"),
    Operation("logs:DescribeLogGroups", ("Lists",), "teardown --logs"),
    Operation("logs:DescribeLogStreams", ("Logs",), "train, logs"),
    Operation("logs:GetLogEvents", ("Logs",), "train, logs"),
    Operation("logs:DeleteLogGroup", ("Logs",), "teardown --logs"),
    Operation("scheduler:CreateSchedule", ("OnlyForExpires",), "deploy --expires"),
    Operation("scheduler:UpdateSchedule", ("OnlyForExpires",), "deploy --expires, again"),
    Operation("scheduler:GetSchedule", ("OnlyForExpires",), "deploy, status, teardown: when an endpoint ends itself"),
    Operation("scheduler:DeleteSchedule", ("OnlyForExpires",), "teardown; deploy --expires never"),
    Operation("application-autoscaling:RegisterScalableTarget", ("OnlyForScaling",), "deploy.max_instances"),
    Operation("application-autoscaling:PutScalingPolicy", ("OnlyForScaling",), "deploy.max_instances"),
    Operation("application-autoscaling:DescribeScalableTargets", ("OnlyForScalingTargets",), "deploy, teardown"),
    Operation("application-autoscaling:DescribeScalingPolicies", ("OnlyForScalingTargets",), "deploy, teardown"),
    Operation("application-autoscaling:DeregisterScalableTarget", ("OnlyForScaling",), "deploy, teardown"),
    Operation("iam:CreateServiceLinkedRole", ("OnlyForScalingRole",), "deploy.max_instances, the account's first", ()),
    Operation("cloudwatch:PutMetricAlarm", ("OnlyForScalingAlarms",), "deploy.max_instances", ()),
    Operation("cloudwatch:DescribeAlarms", ("OnlyForScalingAlarms",), "deploy.max_instances", ()),
    Operation("cloudwatch:DeleteAlarms", ("OnlyForScalingAlarms",), "deploy.max_instances; teardown", ()),
    Operation("pricing:GetProducts", ("OnlyForPrices",), "today's prices; without it those of a dated table"),
    Operation("iam:GetRole", ("OnlyForCheckRoles",), "check: the role and whom it trusts"),
    Operation("iam:SimulatePrincipalPolicy", ("OnlyForCheckCaller",), "check: what you may do"),
    Operation("servicequotas:ListServiceQuotas", ("OnlyForCheckQuotas",), "check: quotas"),
)  # fmt: skip
# What SageMaker does in the jobs' name. No call of ours: AWS's list for training and hosting.
# https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html
EXECUTION_ROLE = (
    Operation("s3:ListBucket", ("Bucket",), "the channels", ()),
    Operation("s3:GetObject", ("Objects",), "images, scripts, weights, models", ()),
    Operation("s3:PutObject", ("Objects",), "models, outputs, tensors, checkpoints, captured requests", ()),
    Operation("s3:AbortMultipartUpload", ("Objects",), "a large output that was cut short", ()),
    Operation("s3:DeleteObject", ("Objects",), "checkpoints that the script removed", ()),
    Operation("logs:CreateLogGroup", ("Logs",), "the jobs' and the endpoint's log", ()),
    Operation("logs:CreateLogStream", ("Logs",), "the jobs' and the endpoint's log", ()),
    Operation("logs:DescribeLogStreams", ("Logs",), "the jobs' and the endpoint's log", ()),
    Operation("logs:PutLogEvents", ("Logs",), "the jobs' and the endpoint's log", ()),
    Operation("cloudwatch:PutMetricData", ("Metrics",), "the metrics read from the log", ()),
    Operation("ecr:GetAuthorizationToken", ("ImageLogin",), "the container images", ()),
    Operation("ecr:BatchCheckLayerAvailability", ("Images",), "the container images", ()),
    Operation("ecr:BatchGetImage", ("Images",), "the container images", ()),
    Operation("ecr:GetDownloadUrlForLayer", ("Images",), "the container images", ()),
)
# With aws.subnets: the jobs' network interfaces. EC2 knows no resources for most of them.
VPC = ("ec2:CreateNetworkInterface", "ec2:CreateNetworkInterfacePermission", "ec2:DeleteNetworkInterface",
       "ec2:DeleteNetworkInterfacePermission", "ec2:DescribeDhcpOptions", "ec2:DescribeNetworkInterfaces",
       "ec2:DescribeSecurityGroups", "ec2:DescribeSubnets", "ec2:DescribeVpcs")  # fmt: skip
# With aws.kms_key or aws.volume_kms_key; for the caller and the role alike. CreateGrant is for the volumes.
KMS = ("kms:CreateGrant", "kms:Decrypt", "kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKey")


def caller(place: Place, kms_keys: tuple[str, ...] = ()) -> dict[str, Any]:
    """For the user or role that types `dogbreed`. Statements whose Sid begins with OnlyFor may be left out."""
    return document([*statements(CALLER, place), *kms(kms_keys)])


def execution_role(place: Place, kms_keys: tuple[str, ...] = (), vpc: bool = False) -> dict[str, Any]:
    """For the role that SageMaker's jobs and endpoints run under (aws.role_arn)."""
    network = [allow("Network", list(VPC), ["*"])] if vpc else []
    return document([*statements(EXECUTION_ROLE, place), *kms(kms_keys), *network])


def expiry_role(place: Place) -> dict[str, Any]:
    """For the role that EventBridge Scheduler ends endpoints under (deploy.expiry_role_arn).

    AWS deletes no endpoint that scales for a role that may not end its scaling, alarms included.
    https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-delete-with-scaling.html
    """
    scaling = ["DescribeScalableTargets", "DescribeScalingPolicies", "DeleteScalingPolicy", "DeregisterScalableTarget"]
    return document([
        allow("Endpoints", ["sagemaker:DeleteEndpoint"], place.resources("Endpoints")),
        allow("OnlyForScaling", [f"application-autoscaling:{action}" for action in scaling], ["*"]),
        allow("OnlyForScalingAlarms", ["cloudwatch:DeleteAlarms"], place.resources("OnlyForScalingAlarms")),
    ])  # fmt: skip


def trust(service: str = SERVICE) -> dict[str, Any]:
    """The trust policy of a role: who may act under it."""
    return document([{"Effect": "Allow", "Principal": {"Service": service}, "Action": "sts:AssumeRole"}])


def kms(keys: tuple[str, ...]) -> list[dict[str, Any]]:
    """A key is named by its ARN; one that is named otherwise (an id, an alias) is in no policy's terms: any key."""
    arns = sorted({key if key.startswith("arn:") and ":alias/" not in key else "*" for key in keys})
    return [allow("Keys", list(KMS), arns)] if arns else []


def statements(table: tuple[Operation, ...], place: Place) -> list[dict[str, Any]]:
    """One statement a scope, in the table's order."""
    scopes = dict.fromkeys(scope for operation in table for scope in operation.scopes)
    found = []
    for scope in scopes:
        actions = [operation.action for operation in table if scope in operation.scopes]
        statement = allow(scope, actions, place.resources(scope))
        if scope in HANDED_TO:
            statement["Condition"] = {"StringEquals": {"iam:PassedToService": HANDED_TO[scope]}}
        found.append(statement)
    return found


def allow(sid: str, actions: list[str], resources: list[str]) -> dict[str, Any]:
    return {"Sid": sid, "Effect": "Allow", "Action": sorted(actions), "Resource": resources}


def document(found: list[dict[str, Any]]) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": found}

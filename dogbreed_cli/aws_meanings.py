"""What AWS's errors mean and what to do: one table for refused calls, one for jobs and endpoints that failed.

The first entry that fits wins, so the particular stands above the general. A pattern matches words that AWS has been
seen to say (in its documentation, in issues of its SDKs and samples); `{name}` in a text is a group of the pattern.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from dogbreed_cli.errors import AccessError, DogbreedError, LimitExceeded, UsageError


@dataclass(frozen=True)
class Meaning:
    """Why, and the next thing to do. `codes` and `operation` may be empty: any."""

    why: str
    fix: str
    codes: tuple[str, ...] = ()
    says: str = ""
    operation: str = ""
    kind: type[DogbreedError] = DogbreedError


def find_meaning(table: Iterable[Meaning], code: str, message: str, operation: str = "") -> Meaning | None:
    """The first entry that fits, its texts filled in."""
    for entry in table:
        said = re.search(entry.says, message, re.IGNORECASE | re.DOTALL)
        if (not entry.codes or code in entry.codes) and re.search(entry.operation, operation) and said:
            groups = {name: value or "" for name, value in said.groupdict().items()}
            return replace(entry, why=entry.why.format(**groups), fix=entry.fix.format(**groups))
    return None


DENIED = ("AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "AuthorizationError", "403", "Forbidden")
INVALID = ("ValidationException", "ValidationError", "InvalidParameterException", "BadRequestException")
MISSING = ("ResourceNotFound", "ResourceNotFoundException", "NotFoundException", "NoSuchEntity")
THROTTLED = ("ThrottlingException", "Throttling", "ThrottledException", "TooManyRequestsException", "SlowDown",
             "RequestLimitExceeded", "RequestThrottled", "429")  # fmt: skip
BROKEN = ("InternalFailure", "InternalServerError", "InternalServerException", "InternalError", "ServiceUnavailable",
          "ServiceUnavailableException", "500", "502", "503", "504")  # fmt: skip
PROFILE = "or name another aws.profile; `aws sts get-caller-identity` shows who you are"
QUOTA = (
    "ask for more in AWS's Service Quotas console (Amazon SageMaker), or with `aws service-quotas list-service-quotas "
    "--service-code sagemaker` for the quota's code and `aws service-quotas request-service-quota-increase "
    "--service-code sagemaker --quota-code CODE --desired-value N`; or choose another instance type"
)
TRUST = "name the right role in aws.role_arn, and let its trust policy allow sts:AssumeRole to sagemaker.amazonaws.com"
NETWORK = (
    "give the subnets' route table an S3 gateway endpoint or a NAT, and let the security groups and network ACLs out"
)
RULES = "set debugger.aws_rules = false: dogbreed evaluates the same rules itself; or debugger.enabled = false"

REFUSALS = (
    Meaning("this machine's SageMaker is not the whole of AWS's", "leave that out, or say --target aws before the "
            "command", says=r"^The local .* does not (support|implement)"),
    # Who you are
    Meaning("your session has ended", "log in again (`aws sso login`, or fetch new temporary keys), then run it again",
            ("ExpiredToken", "ExpiredTokenException", "RequestExpired"), kind=AccessError),
    Meaning("this machine's clock is wrong", "set the clock (turn on NTP): AWS allows five to fifteen minutes",
            ("RequestTimeTooSkewed",), kind=AccessError),
    Meaning("this machine's clock is wrong", "set the clock (turn on NTP): AWS allows five to fifteen minutes",
            says="Signature (not yet current|expired)", kind=AccessError),
    Meaning("the secret key does not belong to the access key", "write both keys anew: `aws configure`",
            ("SignatureDoesNotMatch", "InvalidSignatureException"), kind=AccessError),
    Meaning("AWS does not know these keys: deleted, mistyped, of another partition, or aws.region is one that the "
            "account has not enabled", "try `aws sts get-caller-identity`; enable an opt-in region in the account's "
            "settings, or choose another aws.region", ("InvalidClientTokenId", "UnrecognizedClientException",
            "InvalidAccessKeyId", "InvalidToken", "AuthFailure"), kind=AccessError),
    Meaning("the account has not enabled this service or region", "finish the account's sign-up, or enable the region",
            ("OptInRequired", "SubscriptionRequiredException", "NotSignedUp"), kind=AccessError),
    # What you may do
    Meaning("you may not hand the execution role to SageMaker", "add iam:PassRole on that role to your policy, with "
            "the condition iam:PassedToService = sagemaker.amazonaws.com", DENIED, r"iam:PassRole", kind=AccessError),
    Meaning("the KMS key refuses {action}", "allow it in the key's policy and in yours, or leave out aws.kms_key",
            (*DENIED, "KMSAccessDeniedException", *INVALID), r"perform:? (?P<action>kms:\w+)", kind=AccessError),
    Meaning("the KMS key is disabled, deleted or in another region", "name another key in aws.kms_key",
            says=r"KMS key .*(disabled|does not exist|not found|pending)|customer master key that does not exist"),
    Meaning("the KMS key is disabled, deleted or in another region", "name another key in aws.kms_key",
            ("KMS.DisabledException", "KMS.NotFoundException", "KMS.KMSInvalidStateException")),
    Meaning("a policy forbids {action} outright: the organisation's, a boundary, or the bucket's own",
            f"ask who keeps that policy, {PROFILE}", DENIED,
            r"perform:? (?P<action>[\w-]+:\w+).*explicit deny", kind=AccessError),
    Meaning("none of your policies allows {action}",
            f"add {{action}} to your policy (the README has all that dogbreed needs), {PROFILE}", (*DENIED, *INVALID),
            r"(perform:?|allows the) (?P<action>(?!sts:AssumeRole\b)[\w-]+:\w+)", kind=AccessError),
    Meaning("the bucket is someone else's, or your policy does not allow this on it",
            f"name your own in aws.bucket, add the S3 actions to your policy, {PROFILE}", DENIED,
            operation=r"Bucket|Object|Upload|Part$", kind=AccessError),
    Meaning("your policy does not allow this", f"add it to your policy, {PROFILE}", DENIED, kind=AccessError),
    # The execution role
    Meaning("model.tar.gz is not there, in another region, or not for the execution role to read",
            "check the bucket's region, and let the role (aws.role_arn) do s3:GetObject and s3:ListBucket there",
            INVALID, "could not access model data at"),
    Meaning("SageMaker cannot take on the execution role", TRUST, INVALID,
            r"could not assume role|unable to assume the role|sts:AssumeRole|execution role ARN .* is invalid"),
    # Quotas and capacity
    Meaning("your quota '{quota}' is {limit}" + " (a new account's usually is 0)", QUOTA,
            ("ResourceLimitExceeded", "LimitExceededException"),
            r"service limit '(?P<quota>[^']+)' is (?P<limit>\d+)", kind=LimitExceeded),
    Meaning("a quota of your account", QUOTA, ("ResourceLimitExceeded", "LimitExceeded", "LimitExceededException",
            "ServiceQuotaExceededException", "QuotaExceededException"), kind=LimitExceeded),
    Meaning("AWS has no such instances to give just now", "run it again later, or choose another instance type or "
            "aws.region", says="insufficient ?(instance ?)?capacity|unable to provision requested ML compute"),
    Meaning("a bucket quota of your account", "name a bucket that is there in aws.bucket", ("TooManyBuckets",),
            kind=LimitExceeded),
    # Buckets
    Meaning("that name is taken by another account: names are shared by all", "choose another aws.bucket",
            ("BucketAlreadyExists",), kind=AccessError),
    Meaning("there is no such bucket", "check aws.bucket and aws.region, or run `dogbreed upload`, which makes it",
            ("NoSuchBucket",)),
    Meaning("the bucket is in region {region}", "set aws.region = {region}, or name a bucket of your region",
            ("AuthorizationHeaderMalformed",), r"expecting '(?P<region>[\w-]+)'", kind=UsageError),
    Meaning("the bucket is in another region", "`aws s3api get-bucket-location --bucket NAME` says which: set "
            "aws.region to it, or name a bucket of your region", ("PermanentRedirect", "301", "TemporaryRedirect",
            "IllegalLocationConstraintException", "AuthorizationHeaderMalformed"), kind=UsageError),
    Meaning("no such object, or you may not list the bucket", "run `dogbreed upload`, or check the name",
            ("NoSuchKey", "404"), operation="Bucket|Object|Part"),
    Meaning("someone changes this bucket at the same moment", "run it again in a minute",
            ("OperationAborted", "ConditionalRequestConflict")),
    # Training data, images, network
    Meaning("no data is there, in this region, that the execution role may list", "run `dogbreed upload`; check "
            "aws.bucket and aws.region; give the role s3:ListBucket and s3:GetObject", INVALID,
            "No S3 objects found under S3 URL|no identity-based policy allows the s3:ListBucket"),
    Meaning("SageMaker may not pull the container image", "the image must be in this region, in ECR, and its "
            "repository's policy must allow sagemaker.amazonaws.com or the execution role: see aws.training_image and "
            "aws.inference_image", INVALID, r"does not grant ecr:|ecr:BatchGetImage"),
    Meaning("there is no such container image", "check aws.training_image and aws.inference_image: account, region, "
            "name and tag", INVALID, r"requested image .* not found|ECR image .* is invalid|manifest .*unknown"),
    Meaning("the new account has no Debugger: AWS closed it on 2026-07-30", RULES, (*INVALID, *DENIED),
            r"debug(ger|Hook|Rule)|profiler(Config|Rule)", operation="CreateTrainingJob", kind=UsageError),
    Meaning("the VPC's settings do not fit", "check aws.subnets and aws.security_groups: there, in this region, in one "
            "VPC, with free addresses", INVALID, r"subnet|security group", kind=UsageError),
    Meaning("AWS has no such instance type for this use", "choose another --instance-type", INVALID,
            r"instanceType' failed to satisfy constraint", kind=UsageError),
    Meaning("AWS does not take that value", "mend the name or the setting that it was made from", INVALID,
            r"validation errors? detected|failed to satisfy constraint", kind=UsageError),
    # Names
    Meaning("something else is changing that endpoint", "wait until it has ended: `dogbreed status`", INVALID,
            "in-progress endpoint"),
    Meaning("that name is in use", "choose another --name", ("ResourceInUse", "ResourceInUseException",
            "ConflictException")),
    Meaning("that name is in use", "choose another --name", INVALID, "already exist"),
    Meaning("no endpoint of that name is in service", "run `dogbreed deploy`, or see `dogbreed status`",
            (*INVALID, *MISSING), r"endpoint .*not found|could not find endpoint", operation="InvokeEndpoint"),
    Meaning("there is no such thing in this account and region", "see `dogbreed status --all`; check aws.region and "
            "aws.profile", (*INVALID, *MISSING), "not found|could not find|cannot find|does not exist"),
    Meaning("there is no such thing in this account and region", "see `dogbreed status --all`; check aws.region and "
            "aws.profile", MISSING),
    # The endpoint's answers
    Meaning("the picture is too large for the endpoint", "send a smaller one", ("413", "RequestEntityTooLarge")),
    Meaning("the picture is too large for the endpoint", "send a smaller one",
            says=r"error \(413\)|payload.* too large"),
    Meaning("the endpoint takes no such content type", "send JPEG, PNG or WebP", ("ModelError",), r"error \(415\)"),
    Meaning("the endpoint could not read what it was sent", "send a whole JPEG, PNG or WebP", ("ModelError",),
            r"error \(4\d\d\)"),
    Meaning("the model did not answer in time: 60 s are allowed", "choose a larger deploy.instance_type; see "
            "`dogbreed logs`", ("ModelError",), r"timed out|could not get a response"),
    Meaning("the model raised an error", "see `dogbreed logs ENDPOINT`", ("ModelError",)),
    Meaning("the endpoint is not ready", "run it again in a minute; see `dogbreed status`",
            ("ModelNotReadyException", "InternalDependencyException")),
    # AWS itself
    Meaning("too many requests at once, by all users of the account", "run it again in a minute", THROTTLED),
    Meaning("AWS has trouble of its own", "run it again in a minute; see https://health.aws.amazon.com", BROKEN),
)  # fmt: skip

# What a script may meet: its own words are read for these alone.
SCRIPT_FAILURES = (
    Meaning("the GPU's memory was full", "halve train.batch_size (tune.ranges.batch-size for trials) or "
            "model.image_size, or choose an instance type with more GPU memory", says="CUDA out of memory|"
            r"OutOfMemoryError|CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED"),
    Meaning("the instance's memory was full", "lower train.batch_size or train.workers, or choose an instance type "
            "with more memory", says=r"instance type with more memory|out of memory|MemoryError|bad_alloc|"
            r"exit ?code:?\s*['\"]?(-9|137)\b|died with <Signals.SIGKILL"),
    Meaning("the instance's disk was full", "raise train.volume_size", says=r"no space left on device|"
            "insufficient disk space"),
)  # fmt: skip

FAILURES = (
    *SCRIPT_FAILURES,
    Meaning("AWS had no such instances to give", "run it again later, or choose another instance type or aws.region",
            says="CapacityError|InsufficientInstanceCapacity|unable to provision requested ML compute"),
    Meaning("your quota '{quota}' is {limit}", QUOTA, says=r"service limit '(?P<quota>[^']+)' is (?P<limit>\d+)"),
    Meaning("a quota of your account", QUOTA, says="ResourceLimitExceeded"),
    Meaning("no data is there, in this region, that the execution role may list", "run `dogbreed upload`; check "
            "aws.bucket and aws.region; give the role s3:ListBucket", says="No S3 objects found under S3 URL"),
    Meaning("the instance cannot reach S3 from your VPC", NETWORK,
            says="route to an S3 VPC endpoint|Unable to execute request to S3"),
    Meaning("FastFile takes whole folders only", 'set train.input_mode = "File"', says="For FastFile mode"),
    Meaning("the execution role may not use the KMS key", "allow kms:Decrypt and kms:GenerateDataKey to the role, in "
            "the key's policy and in its own", says=r"perform:? kms:\w+|KMS.*(AccessDenied|access denied)"),
    Meaning("SageMaker cannot take on the execution role", TRUST,
            says="sts:AssumeRole|unable to assume the role|could not assume role"),
    Meaning("the execution role may not do {action}", "add {action} to the role's policy (the README has it)",
            says=r"perform:? (?P<action>[\w-]+:\w+)"),
    Meaning("the execution role may not read or write that in S3", "give the role s3:ListBucket, s3:GetObject and "
            "s3:PutObject", says=r"(download|upload).*(AccessDenied|access denied|403|forbidden)"),
    Meaning("model.tar.gz is not there, or not for the execution role to read",
            "give the role s3:GetObject and s3:ListBucket, and train again where the file was deleted",
            says="download model data|could not access model data"),
    Meaning("the model does not fit the instance", "choose a larger deploy.instance_type, or raise deploy.memory",
            says="model data archive is too large"),
    Meaning("the container does not start", "check aws.inference_image: an image with AWS's inference toolkit, for "
            "this kind of instance", says="CannotStartContainerError|starts correctly when invoked with 'docker run"),
    Meaning("SageMaker cannot pull the container image", "check aws.training_image and aws.inference_image: there, in "
            "this region, and for the execution role to read", says="cannot pull|images? included in the model|"
            r"image does not exist|manifest .*unknown|requested image .*not found|does not grant ecr:"),
    Meaning("the container never answered that it is well: the model did not load, or too slowly",
            "see `dogbreed logs ENDPOINT`, or choose a larger deploy.instance_type", says="ping health check"),
    Meaning("the job took longer than it may", "raise train.max_run (tune.max_run for trials), or lower the epochs",
            says="MaxRuntimeExceeded|exceeded.*MaxRuntime"),
    Meaning("no spot instance was free for long enough", "raise train.max_wait, or set train.spot = false",
            says="MaxWaitTimeExceeded|exceeded.*MaxWait"),
    Meaning("the spot instance was taken back", "run it again: it goes on from its checkpoint; or set train.spot = "
            "false", says="spot (instance )?interrupt|Interrupted"),
    Meaning("the container has no way out: network isolation", "name model.weights as a file or an s3:// URI, or set "
            "aws.network_isolation = false", says="network isolation"),
    Meaning("the subnets or security groups do not fit", "check aws.subnets and aws.security_groups: in one VPC, with "
            "free addresses", says="subnet|security group"),
    Meaning("AWS has no Debugger for this account: closed on 2026-07-30", RULES,
            says=r"DebugRule|DebugHook|ProfilerConfig|ProfilerRule|SageMaker Debugger"),
    Meaning("it was killed, by hand or for want of memory", "run it again", says="worker process on this machine"),
    Meaning("AWS has trouble of its own", "run it again; train.max_retry_attempts lets AWS do that",
            says="InternalServerError|encountered an internal error"),
)  # fmt: skip

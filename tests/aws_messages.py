"""What AWS says when it refuses or fails, and what we are to make of it: for test_aws_errors.py.

The messages are AWS's own, from its documentation and from issues of its SDKs and samples.
"""

USER = "User: arn:aws:iam::123456789012:user/ann is not authorized to perform: "
WHERE = " on resource: arn:aws:x:us-east-1:123456789012:y/z because no identity-based policy allows the action"
INVALID = "The security token included in the request is invalid."
QUOTA = (
    "The account-level service limit 'ml.g4dn.xlarge for training job usage' is 0 Instances, with current utilization "
    "of 0 Instances and a request delta of 1 Instances. Please use AWS Service Quotas to request an increase."
)
NO_DATA = (
    'No S3 objects found under S3 URL "s3://b/dogbreed/data/train/" given in input data source. Please ensure that the '
    "bucket exists in the selected region (us-east-1), that objects exist under that S3 prefix, and that the role "
    '"arn:aws:iam::123456789012:role/r" has "s3:ListBucket" permissions on bucket "b".'
)
ROLE = (
    "Could not assume role arn:aws:iam::123456789012:role/r. Please ensure that the role exists and allows principal "
    "'sagemaker.amazonaws.com' to assume the role."
)
MODEL_DATA = (
    "Could not access model data at s3://b/m/model.tar.gz. Please ensure that the role exists and that its trust "
    'relationship policy allows the action "sts:AssumeRole" for the service principal "sagemaker.amazonaws.com".'
)
ECR = (
    "The repository of your image 1.dkr.ecr.eu-west-2.amazonaws.com/x:1 does not grant ecr:GetDownloadUrlForLayer, "
    "ecr:BatchGetImage, ecr:BatchCheckLayerAvailability permission to sagemaker.amazonaws.com service principal."
)
TYPE = (
    "1 validation error detected: Value 'ml.t2.medium' at 'resourceConfig.instanceType' failed to satisfy constraint: "
    "Member must satisfy enum value set: [ml.p2.xlarge, ml.m5.4xlarge]"
)
MOVED = "The bucket you are attempting to access must be addressed using the specified endpoint."
TIMED_OUT = (
    'Received server error (0) from primary with message "Your invocation timed out while waiting for a response from '
    'container primary."'
)
ICE = "Unable to provision requested ML compute capacity due to InsufficientInstanceCapacity error. Please retry"

# operation, code, message -> exit code, words of the reason, words of what to do
REFUSED = [
    ("CreateTrainingJob", "ValidationException", "The local SageMaker does not support RetryStrategy.", 1,
     "not the whole of AWS's", "--target aws"),
    ("GetCallerIdentity", "ExpiredToken", "The provided token has expired.", 4, "session has ended", "aws sso login"),
    ("PutObject", "RequestTimeTooSkewed", "The difference between ... is too large.", 4, "clock", "NTP"),
    ("ListTags", "InvalidSignatureException", "Signature expired: 20261122T1 is now earlier than", 4, "clock", "NTP"),
    ("HeadBucket", "SignatureDoesNotMatch", "The request signature we calculated", 4, "secret key", "aws configure"),
    ("ListTrainingJobs", "UnrecognizedClientException", INVALID, 4, "not know these keys", "opt-in region"),
    ("GetCallerIdentity", "InvalidClientTokenId", INVALID, 4, "not know these keys", "opt-in region"),
    ("PutObject", "InvalidAccessKeyId", "The AWS Access Key Id you provided", 4, "not know these keys", "get-caller"),
    ("CreateModel", "OptInRequired", "You are not subscribed to this service", 4, "has not enabled", "sign-up"),
    ("CreateTrainingJob", "AccessDeniedException", USER + "iam:PassRole" + WHERE, 4, "hand the", "iam:PassedToService"),
    ("PutObject", "AccessDenied", USER + "kms:GenerateDataKey" + WHERE, 4, "refuses kms:Gen", "aws.kms_key"),
    ("PutObject", "KMS.DisabledException", "arn:aws:kms:k is disabled.", 1, "disabled", "another key"),
    ("PutObject", "InvalidArgument", "KMS key arn:aws:kms:k does not exist", 1, "disabled, deleted", "another key"),
    ("CreateModel", "AccessDeniedException", USER + "sagemaker:CreateModel on resource: z with an explicit deny in a "
     "service control policy", 4, "forbids sagemaker:CreateModel", "ask who"),
    ("CreateModel", "AccessDeniedException", USER + "sagemaker:CreateModel" + WHERE, 4, "allows sagemaker:CreateModel",
     "add sagemaker:CreateModel"),
    ("HeadBucket", "403", "Forbidden", 4, "someone else's", "aws.bucket"),
    ("ListObjectsV2", "AccessDenied", "Access Denied", 4, "someone else's", "S3 actions"),
    ("DescribeLogStreams", "AccessDeniedException", "", 4, "does not allow", "add it"),
    ("CreateTrainingJob", "ValidationException", ROLE, 1, "take on the execution role", "trust policy"),
    ("CreateTrainingJob", "ResourceLimitExceeded", QUOTA, 7, "'ml.g4dn.xlarge for training job usage' is 0",
     "request-service-quota-increase"),
    ("CreateHyperParameterTuningJob", "ResourceLimitExceeded", "You have too many", 7, "quota", "Service Quotas"),
    ("CreateEndpoint", "InsufficientCapacity", ICE, 1, "no such instances", "another instance type"),
    ("CreateBucket", "TooManyBuckets", "You have attempted to create more", 7, "bucket quota", "aws.bucket"),
    ("CreateBucket", "BucketAlreadyExists", "The requested bucket name is not available.", 4, "another ac", "choose"),
    ("ListObjectsV2", "NoSuchBucket", "The specified bucket does not exist", 1, "no such bucket", "dogbreed upload"),
    ("ListObjectsV2", "AuthorizationHeaderMalformed", "The authorization header is malformed; the region 'us-east-1' "
     "is wrong; expecting 'eu-central-1'", 2, "region eu-central-1", "aws.region = eu-central-1"),
    ("ListObjectsV2", "PermanentRedirect", MOVED, 2, "another region", "get-bucket-location"),
    ("HeadBucket", "301", "Moved Permanently", 2, "another region", "get-bucket-location"),
    ("HeadObject", "404", "Not Found", 1, "no such object", "dogbreed upload"),
    ("CreateBucket", "OperationAborted", "A conflicting conditional operation is currently", 1, "same moment", "again"),
    ("CreateTrainingJob", "ValidationException", NO_DATA, 1, "no data is there", "s3:ListBucket"),
    ("CreateModel", "ValidationException", MODEL_DATA, 1, "model.tar.gz is not there", "s3:GetObject"),
    ("CreateModel", "ValidationException", ECR, 1, "may not pull", "aws.inference_image"),
    ("CreateModel", "ValidationException", "Requested image 1.dkr.ecr.us-west-2.amazonaws.com/x not found.", 1,
     "no such container image", "aws.training_image"),
    # AWS has not published this sentence; the names of the request's members are the model's.
    ("CreateTrainingJob", "ValidationException", "DebugRuleConfigurations are not available", 2, "2026-07-30",
     "debugger.aws_rules = false"),
    ("CreateTrainingJob", "ValidationException", "The security group 'sg-1' does not exist", 2, "VPC", "aws.subnets"),
    ("CreateTrainingJob", "ValidationException", TYPE, 2, "no such instance type", "--instance-type"),
    ("CreateTrainingJob", "ValidationException", "1 validation error detected: Value 'x' at 'hyperParameters' failed "
     "to satisfy constraint: Map value must satisfy", 2, "does not take", "mend"),
    ("UpdateEndpoint", "ValidationException", 'Cannot update in-progress endpoint "arn:aws:sagemaker:x"', 1,
     "something else is changing", "dogbreed status"),
    ("CreateTrainingJob", "ResourceInUse", "Training job names must be unique", 1, "in use", "--name"),
    ("CreateEndpoint", "ValidationException", 'Cannot create already existing endpoint "arn:aws:x".', 1, "in use",
     "--name"),
    ("InvokeEndpoint", "ValidationError", "Endpoint dogbreed-endpoint of account 123456789012 not found.", 1,
     "no endpoint of that name", "dogbreed deploy"),
    ("DescribeEndpoint", "ValidationException", 'Could not find endpoint "arn:aws:x".', 1, "no such thing", "status"),
    ("DescribeTrainingJob", "ResourceNotFound", "Requested resource not found.", 1, "no such thing", "status --all"),
    ("GetRole", "NoSuchEntity", "The role with name r cannot be there.", 1, "no such thing", "status --all"),
    ("InvokeEndpoint", "413", "Request Entity Too Large", 1, "too large", "smaller"),
    ("InvokeEndpoint", "ModelError", 'Received client error (413) from primary with message', 1, "large", "smaller"),
    ("InvokeEndpoint", "ModelError", 'Received client error (415) from primary with message "x"', 1, "type", "JPEG"),
    ("InvokeEndpoint", "ModelError", 'Received client error (400) from primary with message "x"', 1, "read", "whole"),
    ("InvokeEndpoint", "ModelError", TIMED_OUT, 1, "60 s", "larger deploy.instance_type"),
    ("InvokeEndpoint", "ModelError", 'Received server error (500) from primary with message "x"', 1, "raised", "logs"),
    ("InvokeEndpoint", "ModelNotReadyException", "not ready", 1, "not ready", "again"),
    ("DescribeTrainingJob", "ThrottlingException", "Rate exceeded", 1, "too many requests", "again in a minute"),
    ("DescribeTrainingJob", "InternalFailure", "", 1, "trouble of its own", "health.aws.amazon.com"),
]  # fmt: skip

# FailureReason -> words of what it means, words of what to do
FAILED = [
    ('AlgorithmError: ExecuteUserScriptError:\nExitCode 1\nErrorMessage "torch.OutOfMemoryError: CUDA out of memory. '
     'Tried to allocate 2.00 GiB"\nCommand "python train.py", exit code: 1', "GPU's memory", "train.batch_size"),
    ('AlgorithmError: ExecuteUserScriptError:\nExitCode 137\nErrorMessage ""\nCommand "python train.py"', "instance's "
     "memory", "more memory"),
    ("ClientError: Please use an instance type with more memory, or reduce the size of job data processed on an "
     "instance.", "instance's memory", "train.workers"),
    ("ClientError: Data download failed:Insufficient disk space", "disk", "train.volume_size"),
    ("CapacityError: Unable to provision requested ML compute capacity. Please retry using a different ML instance "
     "type.", "no such instances", "another instance type"),
    (ICE, "no such instances", "another instance type"),
    (f"ResourceLimitExceeded: {QUOTA}", "'ml.g4dn.xlarge for training job usage' is 0", "Service Quotas"),
    ("ResourceLimitExceeded", "a quota", "Service Quotas"),
    (f"ClientError: Data download failed:{NO_DATA}", "no data is there", "dogbreed upload"),
    ("ClientError: Data download failed:Please ensure that the subnet's route table has a route to an S3 VPC endpoint "
     "or a NAT device, and both the security groups and the subnet's network ACL allow outbound traffic to S3.",
     "cannot reach S3 from your VPC", "gateway endpoint"),
    ("ClientError: Data download failed:Failed to download data. For FastFile mode, partial S3 prefix is not "
     "supported.", "whole folders", "train.input_mode"),
    ("ClientError: Artifact upload failed: is not authorized to perform: kms:GenerateDataKey", "KMS", "kms:Decrypt"),
    ("ClientError: TrainingHostAgent Initialization failed:InvalidInputException: SageMaker is unable to perform: "
     "sts:AssumeRole on the role. Check if you have a trust relationship", "take on the execution", "trust policy"),
    ("ClientError: The role is not authorized to perform: ecr:GetAuthorizationToken on resource: *", "may not do "
     "ecr:GetAuthorizationToken", "add ecr:GetAuthorizationToken"),
    ("ClientError: Data download failed:failed to download data. 403 Forbidden (403): Forbidden", "read or write",
     "s3:GetObject"),
    ('Failed to download model data for container "container_1" from URL: "s3://b/model.tar.gz". Please ensure that '
     "there is an object located at the URL and that the role passed to CreateModel has permissions to download the "
     "object.", "model.tar.gz is not there", "s3:GetObject"),
    ("The model data archive is too large. Please reduce the size of the model data archive or move to an instance "
     "type with more storage.", "does not fit", "deploy.memory"),
    ("CannotStartContainerError. Please ensure the model container for variant AllTraffic starts correctly when "
     "invoked with 'docker run <image> serve'", "does not start", "aws.inference_image"),
    ("ClientError: Cannot pull algorithm container. Either the image does not exist or its permissions are incorrect.",
     "cannot pull", "aws.training_image"),
    ("The primary container for production variant AllTraffic did not pass the ping health check. Please check "
     "CloudWatch logs for this endpoint.", "never answered", "dogbreed logs"),
    ("MaxRuntimeExceeded", "longer than it may", "train.max_run"),
    ("MaxWaitTimeExceeded", "no spot instance", "train.max_wait"),
    ("Interrupted", "taken back", "checkpoint"),
    ("ClientError: network isolation is enabled", "network isolation", "aws.network_isolation = false"),
    ("ClientError: The subnet ID 'subnet-1' does not exist", "do not fit", "aws.subnets"),
    ("ClientError: ProfilerConfig is not available", "2026-07-30", "debugger.aws_rules = false"),
    ("InternalServerError: the job's worker process on this machine was killed. Please try again.", "it was killed",
     "run it again"),
    ("InternalServerError: We encountered an internal error.  Please try again.", "trouble of its own", "run it again"),
]  # fmt: skip

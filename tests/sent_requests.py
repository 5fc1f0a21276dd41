"""Requests to look at and to send: two sites, inputs, what is set and what is given."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from dogbreed_cli import endpoint_requests, requests
from dogbreed_cli.config import Config

SITE = requests.Site(
    bucket="sagemaker-us-east-1-123456789012",
    role_arn="arn:aws:iam::123456789012:role/service-role/AmazonSageMaker-ExecutionRole",
    image="763104351884.dkr.ecr.us-east-1.amazonaws.com/pytorch-training:2.8.0-gpu-py312",
    rule_image="503895931360.dkr.ecr.us-east-1.amazonaws.com/sagemaker-debugger-rules:latest",
)
INPUTS = requests.Inputs(
    source="s3://sagemaker-us-east-1-123456789012/dogbreed/source/0123456789abcdef/sourcedir.tar.gz",
    data="s3://sagemaker-us-east-1-123456789012/dogbreed/data",
    splits=("train", "valid", "test"),
)
WITH_WEIGHTS = requests.Inputs(INPUTS.source, INPUTS.data, ("train",), "s3://bucket/dogbreed/weights/0123/resnet.pt")
LONGEST = "a-b-c-d-e-f-g"  # 13 characters, the most that config.py allows
CLOSED = replace(
    SITE,
    kms_key="arn:aws:kms:us-east-1:123456789012:key/outputs",
    volume_kms_key="alias/volumes",
    subnets=("subnet-1", "subnet-2"),
    security_groups=("sg-1",),
    network_isolation=True,
    encrypt_traffic=True,
)
FULL = (
    "train.spot=true",
    "train.instance_count=2",
    "train.processes_per_host=4",
    "train.max_retry_attempts=3",
    "train.input_mode=FastFile",
    "train.environment={HF_HOME = '/tmp'}",
    "aws.tags={CostCenter = 'dogs'}",
    "debugger.aws_rules=true",
    "tune.max_total_run=7200",
    "tune.target_objective=0.2",
    "tune.max_jobs_not_improving=3",
    "tune.stop_on_convergence=true",
    "deploy.data_capture=10",
)
JOB, EARLIER = "dogbreed-train-261122-194300", "dogbreed-tune-261121-000000"


def serving(config: Config, site: requests.Site, job: str) -> dict[str, dict[str, Any]]:
    model = endpoint_requests.model(config, site, job, f"s3://{site.bucket}/dogbreed/jobs/{job}/output/model.tar.gz")
    served = endpoint_requests.endpoint_config(config, site, job, model["ModelName"])
    endpoint = endpoint_requests.endpoint(config, requests.endpoint_name(config), served["EndpointConfigName"])
    return {"CreateModel": model, "CreateEndpointConfig": served, "CreateEndpoint": endpoint}

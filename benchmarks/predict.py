"""(i) Whole processes beside the AWS CLI: `dogbreed predict` of one image, with the same endpoint, picture and server,
and `dogbreed --help`.

The server is `dogbreed local serve`, a process of its own; ours is measured with the target local, too.
"""

import shutil
import sys
import time
from contextlib import contextmanager
from statistics import median

import boto3
import ours
import process
import serving
from table import Row
from upload import AWS, REGION
from upload import serving as local_serve

from dogbreed_cli.local import ROLE_ARN

BUCKET, NAME = "models", "dogbreed-endpoint"
OURS = "ours"
MOST = {"predict": 1.0, "--help": 0.2}  # seconds
START_SECONDS = 120


def measure(work, sizes):
    model = serving.prepare(work)[serving.OURS] / "model"
    with local_serve(work.folder / "predict") as server, deployed(server, model):
        picture = server.folder / "picture.jpg"
        picture.write_bytes(serving.pictures(work)[0])
        commands = {
            "aws sagemaker-runtime invoke-endpoint": [
                AWS, "sagemaker-runtime", "invoke-endpoint", "--endpoint-name", NAME, "--content-type", "image/jpeg",
                "--body", f"fileb://{picture}", server.folder / "answer.json",
            ],
            OURS: [process.DOGBREED, "--target", "aws", "predict", picture],
            "ours, target local": [process.DOGBREED, "--target", "local", "predict", picture],
        }  # fmt: skip
        environment = {**server.environment, "DOGBREED_HOME": str(server.folder / "home")}
        seconds = {who: [] for who in commands}
        for number in range(sizes.predicts + 1):
            for who, command in commands.items():
                taken = process.run(command, server.folder, environment).seconds
                if number:  # the first of each compiles its modules
                    seconds[who].append(taken)
    return [*(row(who, taken) for who, taken in seconds.items()), *help_rows(work, sizes)]


def help_rows(work, sizes):
    """The help, which a shell's completion waits for as well; of the AWS CLI what it says soonest."""
    commands = {"aws --version": [AWS, "--version"], OURS: [process.DOGBREED, "--help"]}
    seconds = {who: [] for who in commands}
    for number in range(sizes.predicts + 1):
        for who, command in commands.items():
            taken = process.run(command, work.folder).seconds
            if number:  # the first of each compiles its modules
                seconds[who].append(taken)
    return [row(who, taken, "--help") for who, taken in seconds.items()]


@contextmanager
def deployed(server, model):
    """An endpoint with that model, by plain boto3."""
    print("predict: an endpoint", file=sys.stderr, flush=True)
    session = boto3.Session("local", "local", region_name=REGION)
    s3, sagemaker = (
        session.client(name, endpoint_url=server.environment["AWS_ENDPOINT_URL"]) for name in ("s3", "sagemaker")
    )
    s3.create_bucket(Bucket=BUCKET)
    s3.upload_file(shutil.make_archive(server.folder / "model", "gztar", model), BUCKET, "model.tar.gz")
    container = {
        "Image": ours.container_python().as_uri(),
        "ModelDataUrl": f"s3://{BUCKET}/model.tar.gz",
        "Environment": {"SAGEMAKER_PROGRAM": "serve.py", "SAGEMAKER_SUBMIT_DIRECTORY": "/opt/ml/model/code"},
    }
    variant = {"VariantName": "AllTraffic", "ModelName": NAME, "InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    sagemaker.create_model(ModelName=NAME, PrimaryContainer=container, ExecutionRoleArn=ROLE_ARN)
    sagemaker.create_endpoint_config(EndpointConfigName=NAME, ProductionVariants=[variant])
    sagemaker.create_endpoint(EndpointName=NAME, EndpointConfigName=NAME)
    try:
        wait_for(sagemaker)
        yield
    finally:
        sagemaker.delete_endpoint(EndpointName=NAME)
        sagemaker.get_waiter("endpoint_deleted").wait(EndpointName=NAME, WaiterConfig={"Delay": 1})


def wait_for(sagemaker):
    end = time.monotonic() + START_SECONDS
    while (status := sagemaker.describe_endpoint(EndpointName=NAME)["EndpointStatus"]) != "InService":
        if status == "Failed" or time.monotonic() > end:
            raise process.Failed(f"the endpoint is {status}")
        time.sleep(0.5)


def row(who, seconds, command="predict"):
    measure = f"`{command}`" + (" of one image, whole process" if command == "predict" else ", whole process")
    found = Row(measure, who, "s", seconds, f"start-up counted; the worst of {len(seconds)}: {max(seconds):.2f} s")
    most = MOST[command]
    return found if who.startswith("aws") else found.must(f"<= {most:g} s", median(seconds) <= most)

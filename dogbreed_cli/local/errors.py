"""What goes wrong here, as AWS would have put it. Light, so that job workers can import it."""

from typing import Any


class AwsError(Exception):
    """Becomes the error response in the service's protocol, which boto3 then raises as its `ClientError`.

    `fields` are further members of the error as AWS models it, such as ModelError's OriginalStatusCode. A status of
    500, 502, 503 or 504, and a throttling code, would be retried by botocore.
    """

    def __init__(self, code: str, message: str, status: int = 400, **fields: Any):
        super().__init__(f"{code}: {message}")
        self.code, self.message, self.status, self.fields = code, message, status, fields


def refusal(message: str) -> AwsError:
    """Of a request that AWS would not take either, or that this machine cannot serve."""
    return AwsError("ValidationException", message)


class JobError(Exception):
    """A job ends Failed with this text as its FailureReason."""

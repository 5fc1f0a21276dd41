"""Request <-> operation: real boto3 clients answered inside this process, by plain Python objects.

`register(session, services)` hangs a handler on botocore's `before-send` event. What botocore was about to send is
turned back into the operation's parameters, `services["s3"].put_object(parameters)` is called, and its result goes
back as the HTTP response that botocore's own parser reads: so validation, serialisation, errors, paginators, waiters
and retries stay botocore's own. Nothing ever goes out to the network, whatever service a client is made for.

Everything is derived from the shapes in botocore's service models, for the protocols json (SageMaker, Logs), query
(STS, IAM), rest-xml (S3) and rest-json (SageMaker Runtime, Scheduler). `respond`, `parse_request`,
`serialize_response` and `serialize_error` know nothing of where a request came from, so that an HTTP server can call
them too.
"""

import base64
import json
import uuid
from collections.abc import Mapping
from random import getrandbits
from typing import Any
from urllib.parse import parse_qsl
from xml.etree.ElementTree import ParseError
from xml.sax.saxutils import escape

import botocore.session
from botocore import xform_name
from botocore.awsrequest import AWSResponse
from botocore.model import OperationModel

from dogbreed_cli.local.constraints import validate
from dogbreed_cli.local.errors import AwsError
from dogbreed_cli.local.wire_body import Response, ResponseBody, read_body
from dogbreed_cli.local.wire_rest import parse_rest, serialize_rest
from dogbreed_cli.local.wire_rpc import parse_form, parse_json, serialize_cbor_error, serialize_json
from dogbreed_cli.local.wire_xml import serialize_xml

__all__ = [
    "AwsError",
    "Response",
    "parse_request",
    "register",
    "respond",
    "serialize_error",
    "serialize_response",
    "validate",
]

# The services that check a request against their model before anything else, and the code they refuse it with.
# S3, STS and IAM word their errors one by one.
_VALIDATED = {
    "sagemaker": "ValidationException",
    "sagemaker-runtime": "ValidationError",
    "logs": "InvalidParameterException",
    "scheduler": "ValidationException",
    "application-autoscaling": "ValidationException",
}
_OPERATION = "dogbreed-operation"


def register(session: botocore.session.Session, services: Mapping[str, object]) -> None:
    """Answer every client that is made from `session` after this call.

    `services` maps botocore's service names to objects. The operation `CreateTrainingJob` is answered by the method
    `create_training_job(request) -> dict | None`, both in boto3's terms: CamelCase names, aware datetimes, bytes; a
    streamed request body is a binary file, a streamed response `Body` may be one (with ContentLength beside it).
    `ContentRange` in a response makes it a 206. An AwsError becomes the service's error; any other exception is a bug
    of ours and reaches the caller of the client as it is.
    """

    def remember_operation(model: OperationModel, context: dict[str, Any], **_: Any) -> None:
        # `before-send` does not say which operation it sends, but shares this context.
        context[_OPERATION] = model

    def answer(request: Any, **_: Any) -> AWSResponse:
        response = respond(services, request.context[_OPERATION], request.url, request.headers, request.body)
        return AWSResponse(request.url, response.status, response.headers, response.body)

    session.register("before-call", remember_operation, unique_id="dogbreed-before-call")
    session.register("before-send", answer, unique_id="dogbreed-before-send")


def respond(
    services: Mapping[str, object],
    operation_model: OperationModel,
    url: str,
    headers: Mapping[str, str | bytes],
    body: Any,
) -> Response:
    """Answer one request. Raises only what is a bug of ours."""
    service_model = operation_model.service_model
    name = service_model.service_name
    method = None
    if operation_model.name in service_model.operation_names:  # a service's other attributes are nobody's to call
        method = getattr(services.get(name), xform_name(operation_model.name), None)
    request_id = str(uuid.UUID(int=getrandbits(128), version=4))  # no secret, so without asking the system
    try:
        if method is None:
            raise _not_implemented(operation_model)
        request = parse_request(operation_model, url, headers, body)
        if name in _VALIDATED:
            validate(operation_model, request, _VALIDATED[name])
        return serialize_response(operation_model, method(request) or {}, request_id)
    except AwsError as error:
        return serialize_error(operation_model, error, request_id)


def _not_implemented(operation_model: OperationModel) -> AwsError:
    service_model = operation_model.service_model
    message = f"The local {service_model.service_id} does not implement {operation_model.name}."
    # What AWS answers to an operation that it does not know; botocore retries none of them.
    match service_model.resolved_protocol:
        case "query" | "ec2":
            return AwsError("InvalidAction", message, 400)
        case "rest-xml":
            return AwsError("NotImplemented", message, 501)
        case "rest-json" | "smithy-rpc-v2-cbor":
            return AwsError("UnknownOperationException", message, 404)
    return AwsError("UnknownOperationException", message, 400)


def parse_request(
    operation_model: OperationModel, url: str, headers: Mapping[str, str | bytes], body: Any
) -> dict[str, Any]:
    """The operation's parameters, as they were given to the client. `body` is bytes, text, a binary file or None."""
    shape = operation_model.input_shape
    if shape is None:
        return {}
    protocol = operation_model.service_model.resolved_protocol
    try:
        if protocol == "json":
            return parse_json(shape, json.loads(read_body(body) or b"{}"))
        if protocol == "query":
            return parse_form(shape, dict(parse_qsl(read_body(body).decode(), keep_blank_values=True)))
        return parse_rest(operation_model, shape, url, headers, body)
    except ParseError as error:
        raise AwsError("MalformedXML", "The XML you provided was not well-formed.") from error
    except (ValueError, TypeError, AttributeError) as error:
        # A client with a model checks types before it sends; this is for one without.
        raise AwsError("SerializationException", f"The request cannot be read: {error}") from error


def serialize_response(operation_model: OperationModel, output: dict[str, Any], request_id: str) -> Response:
    """The response that carries `output`. In XML a member that the operation's model does not have is a KeyError."""
    protocol = operation_model.service_model.resolved_protocol
    shape = operation_model.output_shape
    response = Response(operation_model.http.get("responseCode", 200), _identify(operation_model, request_id))
    if protocol == "json":
        response.headers["Content-Type"] = f"application/x-amz-json-{operation_model.metadata['jsonVersion']}"
        response.write_json(serialize_json(shape, output) if shape else {})
    elif protocol == "query":
        name = operation_model.name
        result = (
            serialize_xml(shape, output, shape.serialization.get("resultWrapper", f"{name}Result")) if shape else ""
        )
        metadata = f"<ResponseMetadata><RequestId>{request_id}</RequestId></ResponseMetadata>"
        namespace = operation_model.metadata["xmlNamespace"]
        response.headers["Content-Type"] = "text/xml"
        response.write_xml(f'<{name}Response xmlns="{namespace}">{result}{metadata}</{name}Response>')
    elif shape:
        serialize_rest(operation_model, shape, output, response)
    return response


def serialize_error(operation_model: OperationModel, error: AwsError, request_id: str) -> Response:
    """The error response in the service's protocol."""
    service_model = operation_model.service_model
    protocol = service_model.resolved_protocol
    response = Response(error.status, _identify(operation_model, request_id))
    if operation_model.http.get("method") == "HEAD" or error.status == 304:
        # HTTP allows no body here; botocore makes the code from the status ("404", "304").
        return response
    if protocol in ("json", "rest-json"):
        shape = service_model.shape_for_error_code(error.code)
        fields = serialize_json(shape, error.fields) if shape else error.fields
        message = "Message" if shape and "Message" in shape.members else "message"
        response.headers["x-amzn-ErrorType"] = error.code
        response.headers["Content-Type"] = (
            "application/json" if protocol == "rest-json" else "application/x-amz-json-1.1"
        )
        response.write_json({"__type": error.code, message: error.message, **fields})
    elif protocol == "smithy-rpc-v2-cbor":
        response.headers["Content-Type"] = "application/cbor"
        response.headers["smithy-protocol"] = "rpc-v2-cbor"
        response.body = ResponseBody(serialize_cbor_error(error.code, error.message))
    else:
        response.headers["Content-Type"] = "application/xml"
        response.write_xml(_serialize_xml_error(protocol, error, request_id))
    return response


def _serialize_xml_error(protocol: str, error: AwsError, request_id: str) -> str:
    code = f"<Code>{escape(error.code)}</Code><Message>{escape(error.message)}</Message>"
    fields = "".join(f"<{name}>{escape(str(value))}</{name}>" for name, value in error.fields.items())
    match protocol:
        case "rest-xml":
            return f"<Error>{code}{fields}<RequestId>{request_id}</RequestId></Error>"
        case "ec2":
            return f"<Response><Errors><Error>{code}</Error></Errors><RequestID>{request_id}</RequestID></Response>"
    error_type = f"<Type>{'Receiver' if error.status >= 500 else 'Sender'}</Type>"
    return (
        f"<ErrorResponse><Error>{error_type}{code}{fields}</Error><RequestId>{request_id}</RequestId></ErrorResponse>"
    )


def _identify(operation_model: OperationModel, request_id: str) -> dict[str, str]:
    if operation_model.service_model.service_name == "s3":
        return {"x-amz-request-id": request_id, "x-amz-id-2": base64.b64encode(request_id.encode()).decode()}
    return {"x-amzn-RequestId": request_id}

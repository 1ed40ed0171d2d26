"""What the OpenAPI document says of providers' callbacks. Pure."""

from __future__ import annotations

from gateway.api import callbacks
from gateway.api.described import problems
from gateway.api.problem import Kind
from gateway.api.schemas import Json


def paths() -> Json:
    """The `paths` of the document."""
    text: Json = {"type": "string"}
    fields = {"type": "object", "properties": {"MessageStatus": text, "ErrorCode": text}, "required": ["MessageStatus"]}
    return {
        callbacks.PATH: {
            "post": {
                "operationId": "twilioCallback",
                "summary": "What became of a text message, told by Twilio",
                "parameters": [
                    {"name": "token", "in": "path", "required": True, "schema": text},
                    {"name": "X-Twilio-Signature", "in": "header", "required": True, "schema": text},
                ],
                "requestBody": {
                    "required": True,
                    "content": {"application/x-www-form-urlencoded": {"schema": fields}},
                },
                "responses": {
                    "204": {"description": "Noted, or nothing to note."},
                    **problems(
                        Kind.BAD_REQUEST, Kind.FORBIDDEN, Kind.NOT_FOUND, Kind.TOO_LARGE, Kind.TIMEOUT, Kind.UNAVAILABLE
                    ),
                },
            }
        }
    }

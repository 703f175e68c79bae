"""The API in OpenAPI 3.1: every path under /api/, those answered in front of Django too."""

from typing import Any

from roadmap.models import State
from roadmap.runs.door import LONGEST_FEEDBACK

Schema = dict[str, Any]
MARKDOWN, STREAM, PROBLEM = "text/markdown", "text/event-stream", "application/problem+json"

REASONS = {
    "400": "The body is not JSON.",
    "401": "No bearer token, or one that is not valid.",
    "403": "Sent from another site's page.",
    "404": "No such roadmap, or somebody else's.",
    "405": "The path does not take that method.",
    "408": "The body did not arrive in time.",
    "409": "The roadmap's state does not allow it, or somebody was faster.",
    "413": "The body is too large: over 4 KiB for a join, over 64 KiB elsewhere.",
    "415": "The body is not application/json.",
    "422": "A field cannot be taken as it is; `errors` says which, and why.",
    "429": "Too many; `Retry-After` says when to come back.",
    "503": "Very busy, or the database is away; `Retry-After` says when to come back.",
}
ALWAYS = ("405", "408", "413", "503")  # a body is read, and bound, where nobody needs one too
WITH_BODY = ("400", "415", "422")


def ref(name: str) -> Schema:
    return {"$ref": f"#/components/schemas/{name}"}


def text(**more: Any) -> Schema:
    return {"type": "string", **more}


def nullable(schema: Schema) -> Schema:
    return {"oneOf": [schema, {"type": "null"}]}


def object_of(required: list[str], **properties: Schema) -> Schema:
    return {"type": "object", "required": required, "properties": properties}


def all_of(**properties: Schema) -> Schema:
    """An object with every one of these properties."""
    return object_of(list(properties), **properties)


def list_of(schema: Schema) -> Schema:
    return {"type": "array", "items": schema}


def answer(description: str, schema: Schema | None, content_type: str = "application/json") -> Schema:
    return {"description": description, **({"content": {content_type: {"schema": schema}}} if schema else {})}


def problems(*statuses: str) -> Schema:
    return {
        status: {
            **answer(REASONS[status], ref("Problem"), PROBLEM),
            **(
                {"headers": {"Retry-After": {"schema": {"type": "integer"}}}}
                if status in ("429", "503")
                else {}
            ),
        }
        for status in sorted({*statuses, *ALWAYS})
    }


def operation(summary: str, responses: Schema, body: str = "", **more: Any) -> Schema:
    if body:
        content = {"application/json": {"schema": ref(body)}}
        more["requestBody"] = {"required": True, "content": content}
    return {"summary": summary, "responses": responses, **more}


ANYONE: Schema = {"security": []}
READER: Schema = {"security": [{"token": []}, {"session": []}]}
ONE: Schema = {"parameters": [{"$ref": "#/components/parameters/id"}]}
ACCEPTED = answer("It is on its way.", ref("Accepted"))
OF_ONE = ("401", "404")
LAST_EVENT = {
    "name": "Last-Event-ID",
    "in": "header",
    "description": "The number of the last event that was seen; the stream begins after it.",
    "schema": {"type": "integer", "minimum": 0},
}
AFTER = {
    **LAST_EVENT,
    "name": "after",
    "in": "query",
    "description": "The same, for who cannot send a header; Last-Event-ID comes first.",
}

PATHS: Schema = {
    "/api/v1/waitlist": {
        "post": operation(
            "Join the waitlist; answered once the row is committed.",
            {
                "202": answer("On the list. The same for a new address and a known one.", ref("Joined")),
                **problems("403", "429", *WITH_BODY),
            },
            "Join",
            **ANYONE,
        ),
        "options": operation(
            "The preflight of a page of an allowed origin.",
            {"204": answer("Which methods and headers it may use.", None), **problems()},
            **ANYONE,
        ),
    },
    "/api/v1/roadmaps": {
        "post": operation(
            "Begin a roadmap.",
            {"201": answer("Queued.", ref("Begun")), **problems("401", "429", *WITH_BODY)},
            "Brief",
        )
    },
    "/api/v1/roadmaps/{id}": {
        **ONE,
        "get": operation(
            "The roadmap so far.",
            {"200": answer("As far as it is.", ref("Roadmap")), **problems(*OF_ONE)},
            **READER,
        ),
    },
    "/api/v1/roadmaps/{id}/events": {
        **ONE,
        "get": operation(
            "Its events as they happen. `event` is status, outline, lesson or gap; `id` counts up from 1; `data` is "
            "JSON. A comment comes every 15 seconds. On shutdown the stream ends: come back with Last-Event-ID. It "
            "also ends with its roadmap, and with the right to read it. One person can have 50 of them open.",
            {"200": answer("The stream.", text(), STREAM), **problems(*OF_ONE, "429")},
            parameters=[LAST_EVENT, AFTER],
            **READER,
        ),
    },
    "/api/v1/roadmaps/{id}/review": {
        **ONE,
        "post": operation(
            "Approve the outline, or have it changed.",
            {"202": ACCEPTED, **problems(*OF_ONE, "409", *WITH_BODY)},
            "Review",
        ),
    },
    "/api/v1/roadmaps/{id}/cancel": {
        **ONE,
        "post": operation(
            "End an unfinished roadmap; what has been written stays.",
            {"202": ACCEPTED, **problems(*OF_ONE, "409")},
        ),
    },
    "/api/v1/roadmaps/{id}/retry": {
        **ONE,
        "post": operation(
            "Go on with a roadmap that failed, or write what is missing.",
            {"202": ACCEPTED, **problems(*OF_ONE, "409", "429")},
        ),
    },
    "/api/v1/roadmaps/{id}/export.md": {
        **ONE,
        "get": operation(
            "The whole roadmap as Markdown.",
            {"200": answer("The document.", text(), MARKDOWN), **problems(*OF_ONE)},
            **READER,
        ),
    },
    "/api/v1/openapi.json": {
        "get": operation(
            "This description.", {"200": answer("OpenAPI 3.1.", {"type": "object"}), **problems()}, **ANYONE
        )
    },
}

HOURS: Schema = {"type": "number", "exclusiveMinimum": 0}
ADDRESS = text(format="uri-reference")
SCHEMAS: Schema = {
    "Join": object_of(["email"], email=text(format="email"), source=text(maxLength=64)),
    "Joined": all_of(success={"const": True}, message=text()),
    "Brief": object_of(
        ["goal"],
        goal=text(minLength=1, maxLength=500),
        level={"type": ["string", "null"], "maxLength": 100},
        hours_per_week={"type": ["integer", "null"], "minimum": 1, "maximum": 168},
        weeks={"type": ["integer", "null"], "minimum": 1, "maximum": 520},
        language={"type": ["string", "null"], "maxLength": 35},
    ),
    "Review": object_of(
        ["decision"],
        decision=text(enum=["approve", "revise"]),
        feedback={
            "type": ["string", "null"],
            "maxLength": LONGEST_FEEDBACK,
            "description": "Needed for revise.",
        },
    ),
    "State": text(enum=[str(state) for state in State]),
    "Links": all_of(**dict.fromkeys(("self", "events", "review", "cancel", "retry", "export"), ADDRESS)),
    "Begun": all_of(id=text(format="uuid"), status=ref("State"), links=ref("Links")),
    "Accepted": all_of(id=text(format="uuid"), links=ref("Links")),
    "Roadmap": all_of(
        id=text(format="uuid"),
        status=ref("State"),
        error=nullable(text()),
        outline=nullable(ref("Outline")),
        lessons=list_of(ref("Lesson")),
        links=ref("Links"),
    ),
    "Outline": all_of(title=text(), summary=text(), hours=HOURS, stages=list_of(ref("Stage"))),
    "Stage": all_of(title=text(), summary=text(), concepts=list_of(ref("Concept"))),
    "Concept": all_of(
        key=text(),
        title=text(),
        summary=text(),
        hours=HOURS,
        prerequisites=list_of(text(description="The key of a concept to learn first.")),
    ),
    "Lesson": all_of(
        concept=text(description="The concept's key."),
        title=text(),
        markdown={"type": ["string", "null"], "description": "Null where writing it failed."},
        resources=list_of(all_of(title=text(), url=text(format="uri"))),
        gap={"type": ["string", "null"], "description": "Why there is no lesson."},
        learned={"type": "boolean"},
    ),
    "Problem": object_of(
        ["type", "title", "status"],
        type=text(format="uri-reference"),
        title=text(),
        status={"type": "integer"},
        detail=text(),
        errors={"type": "object", "additionalProperties": list_of(text())},
        nearest=list_of(text(description="A topic of the catalogue.")),
        state=ref("State"),
    ),
}

DESCRIPTION: Schema = {
    "openapi": "3.1.0",
    "info": {
        "title": "Roadmap",
        "version": "1",
        "description": "Join the waitlist; have a roadmap to what you want to learn drafted, review it, read it. "
        "Errors are problem documents (RFC 9457).",
    },
    "security": [{"token": []}],
    "paths": PATHS,
    "components": {
        "securitySchemes": {
            "token": {"type": "http", "scheme": "bearer"},
            "session": {"type": "apiKey", "in": "cookie", "name": "sessionid"},
        },
        "parameters": {
            "id": {"name": "id", "in": "path", "required": True, "schema": text(format="uuid")},
        },
        "schemas": SCHEMAS,
    },
}

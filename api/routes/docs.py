"""`/docs`: the OpenAPI document as one plain page, without scripts and without foreign origins."""

from html import escape
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

router = APIRouter()


@router.get("/docs", include_in_schema=False)
async def docs(request: Request) -> HTMLResponse:
    """All routes with their parameters, bodies and answers."""
    return HTMLResponse(render(request.app.openapi()))


def render(document: dict[str, Any]) -> str:
    """The page for an OpenAPI document."""
    info, schemas = document["info"], document["components"]["schemas"]
    routes = [
        _route(method, path, operation)
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    ]
    bodies = [_schema(name, schema) for name, schema in sorted(schemas.items())]
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f'<title>{escape(info["title"])}: routes</title><link rel="stylesheet" href="docs.css"></head><body><main>'
        f"<h1>{escape(info['title'])}</h1><p>{escape(info['description'])}</p>"
        '<p><a href="./">The page</a> · <a href="openapi.json">This as OpenAPI</a></p>'
        f"<h2>Routes</h2>{''.join(routes)}<h2>Bodies</h2>{''.join(bodies)}</main></body></html>"
    )


def _route(method: str, path: str, operation: dict[str, Any]) -> str:
    scopes = operation.get("security", [{}])[0].get("key", [])
    needs = (
        f"<p>Needs a key{f' with the scope <code>{scopes[0]}</code>' if scopes else ''}.</p>"
        if "security" in operation
        else ""
    )
    parameters = [
        (parameter["name"], _type(parameter["schema"]), parameter.get("description", ""))
        for parameter in operation.get("parameters", [])
    ]
    sends = ", ".join(operation.get("requestBody", {}).get("content", {}))
    answers = [
        (status, ", ".join(answer.get("content", {})), answer["description"])
        for status, answer in operation["responses"].items()
    ]
    return (
        f"<section><h3><code>{method.upper()} {escape(path)}</code></h3>{_paragraphs(operation.get('description', ''))}{needs}"
        f"{_table(('Parameter', 'Type', 'Meaning'), parameters)}"
        f"{f'<p>Body: <code>{escape(sends)}</code></p>' if sends else ''}"
        f"{_table(('Status', 'Body', 'Meaning'), answers)}</section>"
    )


def _schema(name: str, schema: dict[str, Any]) -> str:
    fields = [
        (field, _type(described), described.get("description", ""))
        for field, described in schema.get("properties", {}).items()
    ]
    return (
        f'<section id="{escape(name)}"><h3><code>{escape(name)}</code></h3>{_paragraphs(schema.get("description", ""))}'
        f"{_table(('Field', 'Type', 'Meaning'), fields)}</section>"
    )


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "anyOf" in schema:
        return " or ".join(_type(choice) for choice in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(map(str, schema["enum"]))
    if schema.get("type") == "array":
        return f"list of {_type(schema.get('items', {}))}"
    bounds = "".join(f" {sign} {schema[name]}" for name, sign in (("minimum", "≥"), ("maximum", "≤")) if name in schema)
    return f"{schema.get('type', 'any')}{bounds}"


def _paragraphs(text: str) -> str:
    return "".join(f"<p>{escape(part)}</p>" for part in text.split("\n\n") if part)


def _table(heads: tuple[str, ...], rows: list[tuple[str, str, str]]) -> str:
    if not rows:
        return ""
    head = "".join(f"<th>{name}</th>" for name in heads)
    body = "".join(
        f"<tr><td><code>{escape(a)}</code></td><td>{escape(b)}</td><td>{escape(c)}</td></tr>" for a, b, c in rows
    )
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'

"""The routes, and what holds for all of them: sizes, errors in words, headers."""

import json
import re
import sys
import traceback
from pathlib import Path
from typing import Any, Callable, Iterator

import psycopg
from page import database
from page.database import plain
from page.fields import LARGEST_BODY, Fields, Refused
from page.language import Silent
from page.views import Views
from psycopg_pool import PoolTimeout
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

STATIC = Path(__file__).parent / "static"
# Nothing from elsewhere, and no code within the page's text: what a text contains stays text.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


async def fields(request: Request) -> Fields:
    if request.method != "POST":
        given: dict[str, Any] = dict(request.query_params)
        if re.fullmatch(r"[0-9]{1,15}", given.get("conversation", "")):
            given["conversation"] = int(given["conversation"])
        return Fields(json.dumps(given).encode())
    if not request.headers.get("content-type", "").startswith("application/json"):
        # A form of another site cannot send this type without asking first.
        raise Refused("JSON is expected.", 415)
    return Fields(await request.body())


def answering(view: Callable[[Fields], dict]) -> Callable:
    """A view as an endpoint. It runs in a thread, as it waits for the database."""

    async def endpoint(request: Request) -> Response:
        return JSONResponse(plain(await run_in_threadpool(view, await fields(request))))

    return endpoint


def streaming(view: Callable[[Fields], Iterator[dict]]) -> Callable:
    """A view that answers bit by bit, a line of JSON each. What fails before the first line has a status; what fails
    later is the last line."""

    async def endpoint(request: Request) -> Response:
        lines = view(await fields(request))
        first = await run_in_threadpool(next, lines, None)
        return StreamingResponse(rest(first, lines), media_type="application/x-ndjson")

    return endpoint


def rest(first: dict | None, lines: Iterator[dict]) -> Iterator[str]:
    try:
        if first is not None:
            yield json.dumps(plain(first)) + "\n"
        for line in lines:
            yield json.dumps(plain(line)) + "\n"
    except Exception as error:
        yield json.dumps({"error": said(error)[0]}) + "\n"


class Guard:
    """Limits the body of a request, and adds the headers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > LARGEST_BODY:
                raise Refused(f"The request is too long: at most {LARGEST_BODY:,} bytes.", 413)
            return message

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [
                    (name.lower().encode(), value.encode()) for name, value in HEADERS.items()
                ]
            await send(message)

        await self.app(scope, counted, with_headers)


def words(error: Exception) -> tuple[str, int]:
    """What is told of an error, and its status."""
    match error:
        case Refused():
            return error.words, error.status
        case Silent():
            return str(error), 502
        case HTTPException():
            return {404: "There is no such page.", 405: "This address does not take that method."}.get(
                error.status_code, error.detail
            ), error.status_code
        case psycopg.errors.QueryCanceled():
            return (
                f"The database took longer than {database.TIMEOUT_MS // 1000} seconds; the query was ended.",
                503,
            )
        case PoolTimeout() | psycopg.OperationalError():
            return "The database cannot be reached, or is too busy. Try again in a moment.", 503
        case psycopg.DataError():
            return "The database cannot store this text.", 400
        case _:
            return "Something went wrong on the server; its log has the details.", 500


def said(error: Exception) -> tuple[str, int]:
    told, status = words(error)
    if status == 500:
        traceback.print_exception(error, file=sys.stderr)
    elif status > 500:
        print(f"{told} {error.__cause__ or error.__context__ or error!r}", file=sys.stderr, flush=True)
    return told, status


async def failed(request: Request, error: Exception) -> Response:
    told, status = said(error)
    return JSONResponse({"error": told}, status)


def make(views: Views, hosts: list[str]) -> Starlette:
    def read(path: str, view: Callable) -> Route:
        return Route(f"/api/{path}", answering(view))

    def write(path: str, view: Callable) -> Route:
        return Route(f"/api/{path}", answering(view), methods=["POST"])

    def streamed(path: str, view: Callable) -> Route:
        return Route(f"/api/{path}", streaming(view), methods=["POST"])

    routes = [
        read("about", views.about),
        write("ask", views.ask),
        streamed("ask/generate", views.ask_generate),
        read("chat", views.chat),
        read("chat/messages", views.chat_messages),
        write("chat/say", views.chat_say),
        streamed("chat/generate", views.chat_generate),
        read("summarise", views.summarise_texts),
        write("summarise", views.summarise),
        read("cache", views.cache),
        write("cache/ask", views.cache_ask),
        write("cache/threshold", views.cache_threshold),
        write("cache/invalidate", views.cache_invalidate),
        read("index", views.index),
        write("index/insert", views.index_insert),
        write("index/remove", views.index_remove),
        streamed("index/curve", views.index_curve),
        Mount("/", StaticFiles(directory=STATIC, html=True)),
    ]
    handled = [Refused, Silent, HTTPException, psycopg.Error, PoolTimeout, Exception]
    return Starlette(
        routes=routes,
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts), Middleware(Guard)],
        exception_handlers={each: failed for each in handled},
    )

"""An HTTP server on loopback, in a thread of its own, and the messages that it receives and sends."""

from __future__ import annotations

import asyncio
import json
import logging
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Literal

from aiohttp import web

JSON, XML, HTML = "application/json;charset=UTF-8", "application/xml", "text/html"

_SILENT = logging.getLogger("ares_notebook.demo")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False
_LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost"})
_WRITE_BYTES = 1 << 18
# SO_LINGER on, for zero seconds: closing resets the connection.
_LINGER_ZERO = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Request:
    """
    A request that the demo exchange got.

    Parameters
    ----------
    method, path : str
        As sent; the path decoded.
    query : dict of str to str
        Parameters.
    status : int
        What it was answered with; 0 if the line was cut before a status was sent.
    weight : int
        Request weight that it cost.
    headers : dict of str to str
        Headers of the request, names in lower case.
    """

    method: str
    path: str
    query: dict[str, str]
    status: int
    weight: int
    headers: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request that waits for its response."""

    method: str
    # Decoded.
    path: str
    # Path and query, decoded: faults match their patterns with it.
    target: str
    # A parameter that was sent twice stands there twice.
    parameters: list[tuple[str, str]]
    # Names in lower case.
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class Response:
    """What is sent back."""

    status: int
    body: bytes
    content_type: str = JSON
    # All other headers.
    headers: dict[str, str] = field(default_factory=dict)
    # Request weight that the request cost.
    weight: int = 0


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a response is sent; the whole length is declared in any case."""

    # Pause before anything is sent.
    wait_s: float = 0.0
    # Part of the body that is sent before *pause_s* and *ending*.
    share: float = 1.0
    pause_s: float = 0.0
    # What follows: the rest of the body, an orderly end of the connection, or a reset.
    ending: Literal["whole", "close", "reset"] = "whole"
    # Without a head nothing is sent, and the connection is reset at once.
    has_head: bool = True


Respond = Callable[[HttpRequest], Awaitable[tuple[Response, Delivery]]]


def error(code: int, message: str, status: int = 400, weight: int = 1) -> Response:
    """An API error in Binance's form."""
    text = json.dumps({"code": code, "msg": message}, ensure_ascii=False, separators=(",", ":"))
    return Response(status, text.encode(), weight=weight)


class Server:
    """An HTTP server in a daemon thread, with an event loop that no busy notebook kernel blocks."""

    def __init__(self, respond: Respond, port: int = 0) -> None:
        self._respond = respond
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port: int = self._socket.getsockname()[1]
        self._loop = asyncio.new_event_loop()
        self._stopping = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="ares-demo", daemon=True)

    def start(self) -> None:
        """Serve, from the moment this returns."""
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """Close all connections, end the thread, free the port."""
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def _run(self) -> None:
        """Run the loop of the thread."""
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            asyncio.set_event_loop(None)
            self._loop.close()

    async def _serve(self) -> None:
        """Serve until `stop` is called."""
        # NumPy and zlib work there: the loop stays free, and delays stay true.
        pool = ThreadPoolExecutor(max_workers=16, thread_name_prefix="ares-demo-work")
        self._loop.set_default_executor(pool)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(
            app,
            access_log=None,
            # It logs answers to clients that have gone, as those of a download that was stopped.
            logger=_SILENT,
            handle_signals=False,
            shutdown_timeout=0.1,
            keepalive_timeout=600,
        )
        await runner.setup()
        try:
            await web.SockSite(runner, self._socket, backlog=512).start()
            self._ready.set()
            await self._stopping.wait()
        finally:
            # Accept nothing more, but do not close yet: asyncio forgets, unclosed, a connection
            # that was accepted in the round before.
            self._loop.remove_reader(self._socket)
            await _abort_connections(runner)
            await runner.cleanup()
            await _cancel_tasks()
            pool.shutdown(wait=True)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        # A page in a browser could reach us under a name of its own (DNS rebinding).
        if not _LOOPBACK_NAMES & {request.host, request.host.rpartition(":")[0]}:
            return web.Response(status=421, text="This server answers on loopback only.\n")
        query = request.rel_url.query_string
        response, delivery = await self._respond(
            HttpRequest(
                request.method,
                request.path,
                f"{request.path}?{query}" if query else request.path,
                list(request.query.items()),
                {name.lower(): value for name, value in request.headers.items()},
            )
        )
        try:
            return await _deliver(request, response, delivery)
        except ConnectionError:
            # The client has gone, as a cancelled download does. Raised further, it would be
            # logged as an error of ours, which lands on stderr of a notebook's cell.
            return web.Response()


async def _abort_connections(runner: web.AppRunner) -> None:
    """Abort all connections, those too that were just being accepted."""
    await _yield_to_loop()
    for handler in runner.server.connections if runner.server else ():
        if handler.transport is not None:
            # Closing is not enough: it waits until the client has read all.
            handler.transport.abort()
    await _yield_to_loop()


async def _cancel_tasks() -> None:
    """Cancel what still runs in the loop, such as responses that are being made."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await _yield_to_loop()


async def _yield_to_loop() -> None:
    """Let the loop go round: it takes some rounds to accept or abort a connection."""
    for _ in range(5):
        await asyncio.sleep(0)


async def _deliver(
    request: web.Request, response: Response, delivery: Delivery
) -> web.StreamResponse:
    """Send a response as *delivery* says."""
    if delivery.wait_s:
        await asyncio.sleep(delivery.wait_s)
    stream = web.StreamResponse(status=response.status, headers=response.headers)
    stream.headers["Content-Type"] = response.content_type
    stream.content_length = len(response.body)
    if not delivery.has_head:
        _reset(request)
        return stream
    if delivery.ending != "whole":
        stream.force_close()
    await stream.prepare(request)
    if request.method == "HEAD":
        return stream
    pause_at = int(len(response.body) * delivery.share)
    await _write(stream, response.body[:pause_at])
    if delivery.pause_s:
        await asyncio.sleep(delivery.pause_s)
    if delivery.ending == "whole":
        await _write(stream, response.body[pause_at:])
        await stream.write_eof()
    elif delivery.ending == "reset":
        _reset(request)
    return stream


async def _write(stream: web.StreamResponse, body: bytes) -> None:
    """Write in pieces, so that a slow client holds up no other."""
    for start in range(0, len(body), _WRITE_BYTES):
        await stream.write(body[start : start + _WRITE_BYTES])


def _reset(request: web.Request) -> None:
    """Reset the connection, as a crashed server does."""
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
        transport.abort()

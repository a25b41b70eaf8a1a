"""The demo exchange on the wire: an HTTP server in a thread of its own, on loopback only."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor

from aiohttp import web

from ares_notebook.demo.answers import Answer
from ares_notebook.demo.faults import Delivery

Respond = Callable[[web.Request], Awaitable[tuple[Answer, Delivery]]]

_OUR_NAMES = frozenset({"127.0.0.1", "localhost"})
_PIECE = 1 << 18
# Linger on, for zero seconds: closing resets the connection.
_RESET = struct.pack("ii", 1, 0)


class Server:
    """
    An HTTP server that runs in a daemon thread with an event loop of its own.

    So it serves a script, a test and a notebook alike, and is not starved by a busy kernel.
    """

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
        """Body of the thread."""
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            asyncio.set_event_loop(None)
            self._loop.close()

    async def _serve(self) -> None:
        """Serve until somebody calls `stop`."""
        # Numpy and zlib work there: the loop stays free, and delays stay true.
        pool = ThreadPoolExecutor(max_workers=16, thread_name_prefix="ares-demo-work")
        self._loop.set_default_executor(pool)
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(
            app, access_log=None, handle_signals=False, shutdown_timeout=0.1, keepalive_timeout=600
        )
        await runner.setup()
        try:
            await web.SockSite(runner, self._socket, backlog=512).start()
            self._ready.set()
            await self._stopping.wait()
        finally:
            # Accept nothing more, but do not close yet: asyncio forgets, unclosed, a line
            # that was accepted in the round before.
            self._loop.remove_reader(self._socket)
            await _close_lines(runner)
            await runner.cleanup()
            await _end_tasks()
            pool.shutdown(wait=True)

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request."""
        # A page in a browser could reach us under a name of its own (DNS rebinding).
        if request.host.rpartition(":")[0] not in _OUR_NAMES and request.host not in _OUR_NAMES:
            return web.Response(status=421, text="This server answers on loopback only.\n")
        answer, delivery = await self._respond(request)
        try:
            return await _deliver(request, answer, delivery)
        except ConnectionError:
            # Who asked has gone, as a cancelled download does. Raised further, it would be
            # logged as an error of ours, which lands on stderr of a notebook's cell.
            return web.Response()


async def _close_lines(runner: web.AppRunner) -> None:
    """Cut every line, those too that were just being accepted."""
    await _rounds()
    for handler in runner.server.connections if runner.server else ():
        if handler.transport is not None:
            # Closing is not enough: what nobody reads any more would be waited for.
            handler.transport.abort()
    await _rounds()


async def _end_tasks() -> None:
    """Let nothing outlive the loop, such as answers that are still being made."""
    left = asyncio.all_tasks() - {asyncio.current_task()}
    for task in left:
        task.cancel()
    await asyncio.gather(*left, return_exceptions=True)
    await _rounds()


async def _rounds() -> None:
    """Let the loop go round: what is accepted or cut is so only some rounds later."""
    for _ in range(5):
        await asyncio.sleep(0)


async def _deliver(request: web.Request, answer: Answer, delivery: Delivery) -> web.StreamResponse:
    """Send an answer the way that it shall travel."""
    if delivery.wait_s:
        await asyncio.sleep(delivery.wait_s)
    response = web.StreamResponse(status=answer.status, headers=answer.headers)
    response.headers["Content-Type"] = answer.content_type
    response.content_length = len(answer.body)
    if not delivery.has_head:
        _reset(request)
        return response
    if delivery.ending != "whole":
        response.force_close()
    await response.prepare(request)
    if request.method == "HEAD":
        return response
    border = int(len(answer.body) * delivery.share)
    await _send(response, answer.body[:border])
    if delivery.pause_s:
        await asyncio.sleep(delivery.pause_s)
    if delivery.ending == "whole":
        await _send(response, answer.body[border:])
        await response.write_eof()
    elif delivery.ending == "reset":
        _reset(request)
    return response


async def _send(response: web.StreamResponse, body: bytes) -> None:
    """Write in pieces, so that a slow reader holds up nobody else."""
    for start in range(0, len(body), _PIECE):
        await response.write(body[start : start + _PIECE])


def _reset(request: web.Request) -> None:
    """Cut the line as a crashed server does."""
    transport = request.transport
    if transport is not None:
        line = transport.get_extra_info("socket")
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        transport.abort()

"""Widgets of our own JavaScript: its text, its questions to the kernel, and their static view."""

from __future__ import annotations

import asyncio
import inspect
import logging
import re
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeAlias

import anywidget
from IPython.display import display

from ares_notebook.errors import AresError
from ares_notebook.runtime.job import Job, start

_LOGGER = logging.getLogger("DataDownloader")
_STATIC = Path(__file__).with_name("static")
_VIEW = "application/vnd.jupyter.widget-view+json"
# A browser loads the JavaScript of a widget as one module, from which no relative import leads.
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(\w+\.js)";\n', flags=re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(?:async )?(?:function|const|class)\b)", flags=re.MULTILINE)
# In the saved page: instead of the message that a widget is lost.
_LOST_CSS = (
    ".jp-OutputArea-child:has(.ares-static)+.jp-OutputArea-child:not(:has(.ares-widget))"
    "{display:none}"
)


def esm(name: str) -> str:
    """The JavaScript module *name* of ``static/``, with the modules that it imports put in place."""
    seen: set[str] = set()

    def put_together(each: str) -> str:
        seen.add(each)
        source = (_STATIC / each).read_text(encoding="utf-8")
        before = [put_together(found) for found in _IMPORT.findall(source) if found not in seen]
        source = _IMPORT.sub("", source)
        return "\n".join([*before, source if each == name else _EXPORT.sub("", source)])

    return put_together(name)


def css(*names: str) -> str:
    """These style sheets of ``static/``, after the one that all widgets share."""
    return "\n".join(
        (_STATIC / each).read_text(encoding="utf-8") for each in ("widget.css", *names)
    )


def page(name: str) -> str:
    """The HTML *name* of ``static/``."""
    return (_STATIC / name).read_text(encoding="utf-8")


class Question(NamedTuple):
    """What a page asks: a number of its own, by which it finds the answer, a name, and what is said."""

    number: str
    name: str
    content: Mapping[str, Any]


Answer: TypeAlias = "tuple[dict[str, Any], Sequence[bytes]]"
"""What a page is told: values of JSON, and bytes that need no parsing."""
Answering: TypeAlias = "Callable[[Mapping[str, Any]], Answer | Awaitable[Answer]]"


class AskedWidget(anywidget.AnyWidget):
    """
    A widget whose page asks the kernel questions, which are answered in the background.

    The page sends ``{number, ask, ...}`` and is sent ``{number, ...}`` with the answer, ``{number, error}``
    with a sentence, or ``{number, dropped: true}``. Questions of one name are answered in order and
    one at a time; of those that wait only the newest is answered, since the page shows no other.
    """

    # What the subclass sets: `_esm`, `_css`, and by name of the question who answers it. A plain
    # function is called in a thread, a coroutine function on the background loop.
    _label: ClassVar[str] = "widget"
    # Of a widget whose constructor has raised: ipywidgets closes it all the same.
    _is_closed = True

    def __init__(self, answers: Mapping[str, Answering], **state: object) -> None:
        self._answers = dict(answers)
        self._asked_lock = threading.Lock()
        self._waiting: dict[str, Question] = {}
        self._working: dict[str, Job[None]] = {}
        self._is_closed = False
        self._display_id: str | None = None
        super().__init__(**state)
        self.on_msg(self._receive)

    # --- questions ---

    def _receive(self, _widget: object, message: object, _buffers: object) -> None:
        """Take a question of the page; what is none is not answered."""
        if not isinstance(message, dict):
            return
        name, number = message.get("ask"), message.get("number")
        if not (isinstance(number, str) and isinstance(name, str) and name in self._answers):
            return
        with self._asked_lock:
            if self._is_closed:
                return
            dropped = self._waiting.get(name)
            self._waiting[name] = Question(number, name, message)
            if name not in self._working:
                self._working[name] = start(self._work(name))
        if dropped is not None:
            self._tell({"number": dropped.number, "dropped": True})

    async def _work(self, name: str) -> None:
        """Answer the questions of a name until none is left."""
        while (question := self._next(name)) is not None:
            content, buffers = await self._answered(question)
            self._tell({**content, "number": question.number}, buffers)

    def _next(self, name: str) -> Question | None:
        with self._asked_lock:
            question = self._waiting.pop(name, None)
            if question is None:
                # In the same moment, so that the next question begins new work.
                self._working.pop(name, None)
            return question

    async def _answered(self, question: Question) -> Answer:
        answering = self._answers[question.name]
        try:
            if inspect.iscoroutinefunction(answering):
                found = answering(question.content)
            else:
                found = asyncio.to_thread(answering, question.content)
            answer: Answer = await found
        except AresError as error:
            return {"error": str(error)}, ()
        except Exception as error:
            # A border: what is raised here is shown nowhere else.
            _LOGGER.exception("the %s could not answer %r", self._label, question.name)
            return {"error": f"{type(error).__name__}: {error}"}, ()
        return answer

    def _tell(self, content: dict[str, Any], buffers: Sequence[bytes] = ()) -> None:
        # A widget that was closed has no connection.
        if self.comm is not None:
            self.send(content, list(buffers))

    async def settled(self) -> None:
        """Wait until all that was asked is answered."""
        while True:
            with self._asked_lock:
                working = [*self._working.values()]
            if not working:
                return
            # Who waits here and is cancelled leaves the work alone.
            await asyncio.gather(*(asyncio.to_thread(_wait, job) for job in working))

    def close(self) -> None:
        """Cancel what is being answered, forget what waits, and remove the widget from the page."""
        if self._is_closed:
            return
        with self._asked_lock:
            self._is_closed = True
            self._waiting.clear()
            working = [*self._working.values()]
        for job in working:
            job.cancel()
        super().close()

    # --- how it is shown ---

    def static_html(self) -> str:
        """What pages show on which widgets do not run."""
        raise NotImplementedError

    def _static_view(self) -> dict[str, str]:
        html = f'<div class="ares-static"><style>{_LOST_CSS}</style>{self.static_html()}</div>'
        return {"text/plain": repr(self), "text/html": html}

    def _repr_mimebundle_(self, **kwargs: Any) -> tuple[dict[Any, Any], dict[Any, Any]]:
        """The live widget, and static HTML for pages where widgets do not run."""
        data, metadata = super()._repr_mimebundle_(**kwargs) or ({}, {})
        return {**data, **self._static_view()}, metadata

    def _ipython_display_(self) -> None:
        """
        Display the static view, and after it the live widget.

        They are two outputs, since JupyterLab shows no other view of one whose widget is lost.
        """
        self._display_id = self.model_id
        _display(self._static_view(), self._display_id)
        live, _ = super()._repr_mimebundle_() or ({}, {})
        _display({_VIEW: live[_VIEW]}, None)

    def _renew_static_view(self) -> None:
        """Show in the static view what the widget shows now."""
        if self._display_id is not None and not self._is_closed:
            _display(self._static_view(), self._display_id, update=True)


def _wait(job: Job[None]) -> None:
    """Wait for the end of a job, however it ends: an error was told to the page."""
    done = threading.Event()
    job.then(lambda _: done.set())
    done.wait()


def _display(view: Mapping[str, Any], display_id: str | None, *, update: bool = False) -> None:
    """Display *view* in the cell that runs, or where the display of this id is."""
    display(view, raw=True, display_id=display_id, update=update)  # type: ignore[no-untyped-call]  # IPython publishes no types

"""Being told: over HTTP and mail on loopback; who cannot be told costs a warning, and no secret shows."""

from __future__ import annotations

import asyncio
import email
import email.policy
import logging
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import web
from aiosmtpd.smtp import SMTP

from ares_notebook import Settings
from ares_notebook.runtime.notify import notify

SECRET = "S3CRET"  # noqa: S105 - a word to look for
NOBODY = "json://127.0.0.1:9"


@asynccontextmanager
async def receiver(answer):
    """An HTTP server on loopback that answers each message with *answer*; gives its address."""
    app = web.Application()
    app.router.add_post("/{path:.*}", answer)
    runner = web.AppRunner(app, handler_cancellation=True, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"127.0.0.1:{site._server.sockets[0].getsockname()[1]}"
    finally:
        await runner.cleanup()


class Inbox:
    """Keeps what is posted."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.messages: list[dict[str, str]] = []

    async def answer(self, request: web.Request) -> web.Response:
        """Keep it."""
        self.messages.append(await request.json())
        return web.Response(status=self.status)


class Stall:
    """Takes a message and never answers; knows when the other side hangs up."""

    def __init__(self) -> None:
        self.asked, self.left = asyncio.Event(), asyncio.Event()

    async def answer(self, _: web.Request) -> web.Response:
        """Wait for ever, or for the end of the line."""
        self.asked.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()


class Mailbox:
    """Keeps what is mailed."""

    def __init__(self) -> None:
        self.letters: list[email.message.EmailMessage] = []

    async def handle_DATA(self, _server, _session, envelope) -> str:  # noqa: N802 - aiosmtpd's name
        """Keep it."""
        self.letters.append(email.message_from_bytes(envelope.content, policy=email.policy.default))
        return "250 OK"


@asynccontextmanager
async def mail_server(box: Mailbox):
    """A mail server on loopback; gives its port."""
    # On our own loop: aiosmtpd's controllers cannot take just any free port.
    server = await asyncio.get_running_loop().create_server(lambda: SMTP(box), "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.fixture
def heard(caplog) -> pytest.LogCaptureFixture:
    """All that any logger says, at any level."""
    caplog.set_level(1)
    for name in ("apprise", "urllib3", "requests", "asyncio", "DataDownloader"):
        caplog.set_level(1, logger=name)
    return caplog


def warnings_of(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What DataDownloader warned of."""
    return [text for name, level, text in caplog.record_tuples if level >= logging.WARNING]


@pytest.mark.parametrize(
    ("event", "kind"),
    [("finished", "success"), ("failed", "failure"), ("below threshold", "warning")],
)
async def test_title_body_and_kind_arrive(event, kind, heard):
    """A receiver gets the title in one line, the text as it is, and of which kind it is."""
    inbox = Inbox()
    async with receiver(inbox.answer) as address:
        await notify(
            event, "BTCUSDT\n ×", "one <b>&\ntwo, *three*", Settings(notify=[f"json://{address}/a"])
        )

    reported = [(each["title"], each["message"], each["type"]) for each in inbox.messages]
    assert reported == [("BTCUSDT ×", "one <b>&\ntwo, *three*", kind)]
    assert warnings_of(heard) == []


async def test_a_mail_arrives(heard):
    """A letter has the title as its subject, and the text as it is, for each who is named."""
    box = Mailbox()
    async with mail_server(box) as port:
        url = f"mailto://127.0.0.1:{port}?smtp=127.0.0.1&mode=insecure&from=a@b.org&to=c@d.org,e@f.org"
        await notify("failed", "BTCUSDT\nfailed", "one\n<two> & three", Settings(notify=[url]))

    assert [each["to"] for each in box.letters] == ["c@d.org", "e@f.org"]
    assert {each["subject"] for each in box.letters} == {"BTCUSDT failed"}
    texts = [each.get_body(("plain",)).get_content().splitlines() for each in box.letters]
    assert texts == [["one", "<two> & three"]] * 2
    assert warnings_of(heard) == []


@pytest.mark.parametrize("chosen", [("failed",), ("failed", "below threshold"), ()])
async def test_an_event_that_was_not_chosen_is_told_to_nobody(chosen):
    """Nothing is sent of an event that is not in notify_on."""
    inbox = Inbox()
    async with receiver(inbox.answer) as address:
        settings = Settings(notify=[f"json://{address}"], notify_on=chosen)
        await notify("finished", "title", "body", settings)

    assert inbox.messages == []


async def test_a_long_body_is_cut_and_shows_it():
    """Services refuse long messages, so that the end is left out."""
    inbox = Inbox()
    async with receiver(inbox.answer) as address:
        await notify("failed", "title", "×" * 100_000, Settings(notify=[f"json://{address}"]))

    assert [each["message"] for each in inbox.messages] == ["×" * 4000 + "…"]


@pytest.mark.parametrize(
    ("start", "who", "why"),
    [
        ("json://user:S3CRET@127.0.0.1:9/S3CRET?+token=S3CRET", "json://…", "out of reach"),
        ("mailto://S3CRET:S3CRET@127.0.0.1:9?smtp=127.0.0.1&mode=insecure&to=S3CRET@b.org&from=a@b.org", "mailto://…", "out of reach"),
        ("slack://S3CRET", "slack://…", "cannot make a notifier"),
        ("nonsense://S3CRET", "nonsense://…", "cannot make a notifier"),
        ("S3CRET", "an address without a scheme", "cannot make a notifier"),
        ("S3CRETS3CRETS3CRETS3CRET://a", "an address without a scheme", "cannot make a notifier"),
        ("json://", "json://…", "cannot make a notifier"),
    ],
)  # fmt: skip
async def test_who_cannot_be_told_is_a_warning_without_a_secret(start, who, why, heard, capfd):
    """One line says which notifier and what to do; nothing that any logger says holds a secret."""
    await notify("failed", "title", "body", Settings(notify=[start]))

    assert len(warnings_of(heard)) == 1
    assert warnings_of(heard)[0].startswith(
        f"{who} (number 1 of notify) got no notification of the run: "
    )
    assert why in warnings_of(heard)[0]
    assert SECRET not in heard.text + "".join(capfd.readouterr())


@pytest.mark.parametrize("status", [500, 403])
async def test_a_refusal_is_a_warning_without_a_secret(status, heard, capfd):
    """A receiver that refuses is told of as well, and its address shows nowhere either."""
    inbox = Inbox(status)
    async with receiver(inbox.answer) as address:
        url = f"json://user:S3CRET@{address}/S3CRET?+token=S3CRET"
        await notify("failed", "title", "body", Settings(notify=[url]))

    assert len(inbox.messages) == 1
    assert "refused" in "".join(warnings_of(heard))
    assert SECRET not in heard.text + "".join(capfd.readouterr())


async def test_no_secret_shows_where_all_is_well(heard, capfd):
    """Nor does it where the message arrives."""
    inbox = Inbox()
    async with receiver(inbox.answer) as address:
        url = f"json://user:S3CRET@{address}/S3CRET?+token=S3CRET"
        await notify("failed", "title", "body", Settings(notify=[url]))

    assert len(inbox.messages) == 1
    assert SECRET not in heard.text + "".join(capfd.readouterr())


async def test_one_that_fails_stops_no_other(heard):
    """Before and after those that cannot be told, the others are, and each failure is a line."""
    inbox = Inbox()
    async with receiver(inbox.answer) as address:
        good = f"json://{address}"
        await notify("failed", "t", "b", Settings(notify=["abc", good, NOBODY, good]))

    assert len(inbox.messages) == 2
    assert sorted(re.findall(r"number (\d)", " ".join(warnings_of(heard)))) == ["1", "3"]


async def test_all_are_told_at_once():
    """Each is answered only when both have asked, which one after the other never would be."""
    everybody = asyncio.Barrier(2)

    async def answer(_: web.Request) -> web.Response:
        await everybody.wait()
        return web.Response()

    async with receiver(answer) as address:
        await notify("failed", "t", "b", Settings(notify=[f"json://{address}"] * 2))

    assert everybody.n_waiting == 0


async def test_a_receiver_that_stalls_is_left(heard):
    """After request_timeout_seconds, and no sooner, it is given up, and the line to it is closed."""
    stall = Stall()
    async with receiver(stall.answer) as address:
        settings = Settings(notify=[f"json://{address}/S3CRET"], request_timeout_seconds=6)
        async with asyncio.timeout(20):
            await notify("failed", "title", "body", settings)
            await stall.left.wait()

    assert stall.asked.is_set()
    assert "no answer within 6 seconds" in "".join(warnings_of(heard))
    assert SECRET not in heard.text


async def test_who_is_cancelled_leaves_nothing_behind(heard):
    """A cancellation passes, ends at once what was under way, and is no warning."""
    stall, clock = Stall(), asyncio.get_running_loop().time
    async with receiver(stall.answer) as address:
        # An address that is itself more patient than the test.
        settings = Settings(notify=[f"json://{address}?rto=30"])
        task = asyncio.ensure_future(notify("failed", "title", "body", settings))
        await stall.asked.wait()
        cancelled_at = clock()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await stall.left.wait()

    assert clock() - cancelled_at < 15
    assert warnings_of(heard) == []


def command_lines() -> Iterator[str]:
    """What each process of the machine was started with."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):  # it may have ended meanwhile
            yield path.read_text(errors="replace")


@pytest.mark.skipif(
    not Path("/proc/self/cmdline").exists(), reason="reads Linux' list of processes"
)
async def test_no_address_stands_in_the_list_of_processes():
    """Whoever lists the processes of the machine meanwhile sees no address."""
    seen: list[str] = []

    async def answer(_: web.Request) -> web.Response:
        seen.extend(command_lines())
        return web.Response()

    async with receiver(answer) as address:
        await notify("failed", "t", "b", Settings(notify=[f"json://{address}/S3CRET"]))

    assert any("notifier.py" in each for each in seen)
    assert not any(SECRET in each for each in seen)


async def test_an_interpreter_that_is_not_there_is_a_warning(heard, monkeypatch):
    """Where no process can be started the run goes on all the same."""
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    await notify("failed", "t", "b", Settings(notify=["json://S3CRET"]))

    assert "could not be run (FileNotFoundError)" in "".join(warnings_of(heard))
    assert SECRET not in heard.text


@pytest.mark.parametrize(
    "code",
    [
        "import sys\nprint('S3CRET')\nsys.exit('S3CRET')",
        # A module of ours, by the name that it has in its own folder.
        "from tasks import Memoized\nprint('S3CRET')\nimport sys\nsys.exit()",
    ],
    ids=["broken", "beside us"],
)
async def test_a_broken_apprise_is_a_warning(code, heard, capfd, monkeypatch, tmp_path):
    """What is installed here is what tells; its failure is told of, and what it says is heard by nobody."""
    (tmp_path / "apprise.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    inbox = Inbox()
    async with receiver(inbox.answer) as address:
        await notify("failed", "t", "b", Settings(notify=[f"json://{address}"]))

    assert inbox.messages == []
    assert len(warnings_of(heard)) == 1
    assert SECRET not in heard.text + "".join(capfd.readouterr())


def program(*lines: str) -> subprocess.CompletedProcess[str]:
    """Run a program that may call notify."""
    head = ["import asyncio, sys", "from ares_notebook import Settings"]
    head += ["from ares_notebook.runtime.notify import notify"]
    return subprocess.run(  # noqa: S603 - our own code
        [sys.executable, "-W", "error", "-c", "\n".join([*head, *lines])],
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_apprise_one_line_says_how_to_install_it():
    """A missing Apprise costs one warning, however many addresses there are, and nothing else."""
    done = program(
        "sys.modules['apprise'] = None",
        "told = Settings(notify=['json://S3CRET', 'slack://S3CRET'])",
        "asyncio.run(notify('failed', 't', 'b', told))",
    )

    assert done.returncode == 0
    assert done.stderr == (
        "no notification was sent of the run (failed): notify needs apprise, which is not installed here: "
        'pip install apprise, or, with all that the extra has, pip install "ares-notebook[notify]"\n'
    )


def test_where_nobody_is_to_be_told_apprise_is_not_missed():
    """Without an address, or for an event that was not chosen, nobody looks for Apprise."""
    done = program(
        "sys.modules['apprise'] = None",
        "asyncio.run(notify('failed', 't', 'b', Settings()))",
        f"told = Settings(notify=[{NOBODY!r}], notify_on=['finished'])",
        "asyncio.run(notify('failed', 't', 'b', told))",
    )

    assert (done.returncode, done.stderr) == (0, "")


def test_apprise_is_never_imported_by_a_run():
    """Also where somebody is told this process has no Apprise in it, and so none of its loggers."""
    done = program(
        f"asyncio.run(notify('failed', 't', 'b', Settings(notify=[{NOBODY!r}])))",
        "print('apprise' in sys.modules, 'urllib3' in sys.modules)",
    )

    assert done.stdout.split() == ["False", "False"]
    assert "json://… (number 1 of notify) got no notification" in done.stderr

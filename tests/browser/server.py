"""JupyterLab in a process group and a home of its own, on loopback."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self

_START_SECONDS = 60.0
_NOTIFICATIONS = "@jupyterlab/apputils-extension/notification.jupyterlab-settings"
_HOMES = (
    "JUPYTER_CONFIG_DIR",
    "JUPYTER_DATA_DIR",
    "JUPYTER_RUNTIME_DIR",
    "JUPYTERLAB_SETTINGS_DIR",
    "JUPYTERLAB_WORKSPACES_DIR",
    "IPYTHONDIR",
)


class LabServer:
    """
    JupyterLab on a folder of notebooks; a context manager.

    Parameters
    ----------
    folder : path
        The notebooks; kernels run there.
    home : path
        Where it keeps configuration, state and log, so that nothing of the user's is touched.
    """

    def __init__(self, folder: Path, home: Path) -> None:
        self.folder = folder
        self.url = f"http://127.0.0.1:{free_port()}"
        self._home = home
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self._home.mkdir(parents=True, exist_ok=True)
        self._decline_news()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                self._command(),
                cwd=self.folder,
                env=self._environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        with contextlib.ExitStack() as unless_it_runs:
            # Also after an interrupt no server may be left running.
            unless_it_runs.callback(self.stop)
            self._wait()
            unless_it_runs.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server and all of its kernels."""
        if self._process is None:
            return
        with contextlib.suppress(OSError):
            self.end_kernels()
        # The group, since a kernel would outlive a server that was killed alone.
        for strike in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, strike)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(5)
        self._process = None

    def ask(self, path: str, method: str = "GET") -> Any:
        """An answer of the server's API."""
        request = urllib.request.Request(f"{self.url}/api/{path}", method=method)  # noqa: S310
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310 - loopback
            body = answer.read()
        return json.loads(body) if body else None

    def end_kernels(self) -> None:
        """End all sessions, and their kernels with them."""
        for session in self.ask("sessions"):
            self.ask(f"sessions/{session['id']}", "DELETE")

    @property
    def _log(self) -> Path:
        return self._home / "server.log"

    def _command(self) -> list[str]:
        """As galata, JupyterLab's own test suite, sets its server up."""
        address, _, port = self.url.removeprefix("http://").partition(":")
        return [
            *(sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root"),
            f"--ServerApp.ip={address}",
            f"--ServerApp.port={port}",
            "--ServerApp.port_retries=0",
            f"--ServerApp.root_dir={self.folder}",
            "--ServerApp.disable_check_xsrf=True",
            "--IdentityProvider.token=",
            "--LabApp.expose_app_in_browser=True",
            "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate",
        ]

    def _decline_news(self) -> None:
        """Answer the question that JupyterLab asks at its first start, since it covers the page."""
        path = self._home / "jupyterlab_settings_dir" / _NOTIFICATIONS
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text('{"fetchNews": "false"}', encoding="utf-8")

    def _environment(self) -> dict[str, str]:
        """The machine's, without what would change our defaults, and with homes of its own."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("ARES_")}
        return {**kept, **{name: str(self._home / name.lower()) for name in _HOMES}}

    def _wait(self) -> None:
        """Until it answers; not any longer if it died."""
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                break
            with contextlib.suppress(OSError):
                self.ask("status")
                return
            time.sleep(0.05)
        msg = f"JupyterLab did not start:\n{self._log.read_text(errors='replace')[-4_000:]}"
        raise RuntimeError(msg)


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])

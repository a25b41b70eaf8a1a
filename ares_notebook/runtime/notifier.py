"""
A program that sends one notification; `ares_notebook.runtime.notify` starts it.

Apprise and its libraries write addresses, with tokens, to a dozen loggers, and may wait for long. In
a process of its own its output is discarded, and it can be killed.
"""

from __future__ import annotations

import json
import sys

REFUSED = 1
"""Exit status: the message was not delivered; also Python's own after an exception."""
BAD_ADDRESS = 3
"""Exit status: Apprise cannot parse the address."""


def main() -> int:
    """Send the message in JSON on standard input, where no other user can read the address."""
    message = json.load(sys.stdin.buffer)

    import apprise  # noqa: PLC0415 - slow; the input is read first, so that its writer need not wait

    # The default is four seconds; an address may override it (?rto=).
    apprise.URLBase.socket_read_timeout = message["seconds"]
    notifier = apprise.Apprise()
    if not notifier.add(message["url"]):
        return BAD_ADDRESS
    is_sent = notifier.notify(
        message["body"], title=message["title"], notify_type=message["kind"], body_format="text"
    )
    return 0 if is_sent else REFUSED


if __name__ == "__main__":
    sys.exit(main())

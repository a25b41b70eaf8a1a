"""
A program of its own that tells one notifier; `ares_notebook.runtime.notify` starts it.

Apprise and what it speaks through write addresses, tokens in them, to a dozen loggers, and
wait as long as they like. In a process of its own all that is heard by nobody, and can be stopped.
"""

from __future__ import annotations

import json
import sys

REFUSED = 1
"""Exit status: the message did not get through. Python's own, too, where an error ends it."""
BAD_ADDRESS = 3
"""Exit status: there is no such notifier, or its address lacks something."""


def main() -> int:
    """Tell what standard input says, as JSON: an address cannot be read off the list of processes there."""
    told = json.load(sys.stdin.buffer)

    import apprise  # noqa: PLC0415 - first the input, so that nobody waits to be rid of it

    # Its own is four seconds; an address that names another (?rto=) has its way.
    apprise.URLBase.socket_read_timeout = told["seconds"]
    notifier = apprise.Apprise()
    if not notifier.add(told["url"]):
        return BAD_ADDRESS
    is_told = notifier.notify(
        told["body"], title=told["title"], notify_type=told["kind"], body_format="text"
    )
    return 0 if is_told else REFUSED


if __name__ == "__main__":
    sys.exit(main())

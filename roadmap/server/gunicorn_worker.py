"""gunicorn's worker: uvicorn, with a lifespan that is run to its end."""

import os
import signal
from typing import Any, ClassVar

from uvicorn_worker import UvicornWorker

ACCEPTS = 32  # connections accepted in one turn of the event loop


class Worker(UvicornWorker):
    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "uvloop",
        "http": "httptools",
        "ws": "none",
        "lifespan": "on",
        # Under gunicorn's `graceful_timeout`: with a stream open, the shutdown would never come otherwise.
        "timeout_graceful_shutdown": 10,
        "timeout_notify": 1,  # seconds between two calls of `callback_notify`
        # The client's address and scheme are read in one place of ours.
        "proxy_headers": False,
        "server_header": False,
        "access_log": False,
    }

    async def callback_notify(self) -> None:
        await super().callback_notify()
        if os.getppid() != self.ppid:
            # The master was killed. Another one will be started, and nobody plans for the connections of both.
            os.kill(os.getpid(), signal.SIGTERM)

    async def _serve(self) -> None:
        # libuv accepts one connection for each listening socket in a turn of the loop. While thousands come at
        # once, turns are long, and a connection would wait for seconds to be seen; so the loop listens on several
        # descriptors of the one socket.
        listening: list[Any] = self.sockets
        copies = [one.sock.dup() for one in listening for _ in range(ACCEPTS - 1)]
        self.sockets = [*listening, *copies]
        await super()._serve()

"""gunicorn's worker: uvicorn, with a lifespan that is run to its end."""

import asyncio
import os
import signal
import socket
import sys
from typing import Any, ClassVar, cast

from gunicorn.arbiter import Arbiter
from uvicorn import Config, Server
from uvicorn_worker import UvicornWorker

from roadmap.server.cores import Together
from roadmap.server.http import ServerProtocol

ACCEPTS = 128  # connections accepted in one turn of the event loop
# In ticks of the server, which are tenths of a second:
CLOSE = 50  # between two looks for connections that are to be closed
GATHER = 10  # between two looks at the cores that the threads are on


class StreamingServer(Server):
    def __init__(self, config: Config):
        super().__init__(config)
        self._together = Together()

    async def on_tick(self, counter: int) -> bool:
        if counter % GATHER == 0:
            self._together.look()
        if counter % CLOSE == 0:
            now = asyncio.get_running_loop().time()
            for connection in [*self.server_state.connections]:
                cast(ServerProtocol, connection).close_if_due(now)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams first: the server would wait for them, in vain."""
        from roadmap.runs import hub  # the settings are not to be read before the fork

        hub.end_all()
        await super().shutdown(sockets)


class Worker(UvicornWorker):
    CONFIG_KWARGS: ClassVar[dict[str, Any]] = {
        "loop": "uvloop",
        "http": ServerProtocol,
        "interface": "asgi3",
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
        # From here on as in uvicorn-worker, with a server of ours.
        self.config.app = self.wsgi
        server = StreamingServer(self.config)
        self._install_sigquit_handler()
        await server.serve(sockets=[*listening, *copies])
        if not server.started:
            sys.exit(Arbiter.WORKER_BOOT_ERROR)

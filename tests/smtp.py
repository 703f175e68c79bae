"""A real SMTP server on loopback: it keeps what it is given, and can be told to stall."""

import socketserver
import threading
from typing import Self


class SmtpServer:
    """`messages` has what came in. While `stalled` is set, a connection hears nothing."""

    def __init__(self) -> None:
        self.messages: list[str] = []
        self.stalled = threading.Event()
        self.connected = threading.Semaphore(0)
        self._go_on = threading.Event()
        server = self

        class Session(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                server.connected.release()
                if server.stalled.is_set():
                    server._go_on.wait(60)
                self.say("220 tests")
                while line := self.rfile.readline():
                    match line.split()[0].upper():
                        case b"EHLO" | b"HELO" | b"MAIL" | b"RCPT" | b"RSET" | b"NOOP":
                            self.say("250 fine")
                        case b"DATA":
                            self.say("354 go on")
                            lines = iter(self.rfile.readline, b".\r\n")
                            server.messages.append(b"".join(lines).decode())
                            self.say("250 kept")
                        case b"QUIT":
                            self.say("221 bye")
                            return
                        case _:
                            self.say("502 no")

            def say(self, reply: str) -> None:
                self.wfile.write(f"{reply}\r\n".encode())

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Session)
        self._server.daemon_threads = True
        self.url = f"smtp://127.0.0.1:{self._server.server_address[1]}/?from=roadmap@example.com"

    def go_on(self) -> None:
        self.stalled.clear()
        self._go_on.set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.go_on()
        self._server.shutdown()
        self._server.server_close()

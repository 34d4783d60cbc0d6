"""Passes connections on: a server of this machine's loopback is reached from another machine's."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def relay(address: str, port: int) -> Iterator[None]:
    """Let the same port of an address lead to that of 127.0.0.1, while the block lasts."""
    with socket.create_server((address, port)) as server:
        threading.Thread(target=_accept, args=(server, port), daemon=True).start()
        try:
            yield
        finally:
            # A thread that waits in accept() is not woken by close().
            server.shutdown(socket.SHUT_RDWR)


def _accept(server: socket.socket, port: int) -> None:
    with suppress(OSError):
        while True:
            come, _ = server.accept()
            threading.Thread(target=_join, args=(come, port), daemon=True).start()


def _join(come: socket.socket, port: int) -> None:
    with come, socket.create_connection(("127.0.0.1", port)) as gone:
        back = threading.Thread(target=_copy, args=(gone, come), daemon=True)
        back.start()
        _copy(come, gone)
        back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)

"""Sends so many bytes to a host, over each of four tunnels and as the body of each of two requests; says how each of them has ended.

upload.py <host> <bytes> <tunnels> <requests>
"""

import base64
import json
import os
import socket
import ssl
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

proxy = urlsplit(os.environ["HTTPS_PROXY"])
password = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
auth = f"Proxy-Authorization: Basic {password}\r\n"
host, amount, tunnels, requests = sys.argv[1], *map(int, sys.argv[2:])
block = b"x" * 65536


def dial():
    return socket.create_connection((proxy.hostname, proxy.port), timeout=90)


def hello():
    """What TLS says first: the gateway reads no more of a tunnel."""
    said = ssl.MemoryBIO()
    tls = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), said, server_hostname=host)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return said.read()


def pour(connection):
    """Until everything is through, or nobody takes more."""
    left = amount
    try:
        while left > 0:
            connection.sendall(block[:left])
            left -= min(left, len(block))
    except OSError:
        pass
    return left == 0


def rest(connection):
    heard = b""
    try:
        while more := connection.recv(65536):
            heard += more
    except OSError:
        pass
    return heard.decode("latin1")


def tunnel(_):
    with dial() as connection:
        connection.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n{auth}\r\n".encode())
        answer = connection.recv(65536).decode("latin1")
        if " 200 " not in answer:
            return answer + rest(connection)
        connection.sendall(hello())
        connection.recv(1)
        if not pour(connection):
            return "cut"
        try:
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            return "cut"
        rest(connection)
        return "all went"


def request(_):
    with dial() as connection:
        head = f"POST http://{host}/ HTTP/1.1\r\nHost: {host}\r\n{auth}Content-Length: {amount}\r\n\r\n"
        connection.sendall(head.encode())
        pour(connection)
        return rest(connection)


with ThreadPoolExecutor(8) as threads:
    ends = [*threads.map(tunnel, range(tunnels)), *threads.map(request, range(requests))]
print(json.dumps(ends))

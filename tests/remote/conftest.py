"""A real S3 server on loopback, a proxy in front of it that can be stopped or turn calls away, an account."""

import http.client
import os
import random
import socket
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import boto3
import pytest
from moto.server import ThreadedMotoServer

from filterworks.files.stores import forget_stores

# The call is made, but its answer never arrives, or breaks off in its middle.
LOST, BROKEN = -1, -2
SECRET = "wJalrXUtnFEMI-K7MDENG-bPxRfiCYzzzSECRET"


@pytest.fixture(scope="session")
def moto():
    """The address of the server."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def account(moto, monkeypatch, tmp_path):
    """Credentials and endpoint in the environment, as a user has them; state in a folder of the test."""
    for name in [
        name for name in os.environ if name.startswith(("AWS_", "FSSPEC_")) or "proxy" in name.lower()
    ]:
        monkeypatch.delenv(name)
    values = {
        "AWS_ACCESS_KEY_ID": "AKIATESTTESTTESTTEST",
        "AWS_SECRET_ACCESS_KEY": SECRET,
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": moto,
        "AWS_CONFIG_FILE": str(tmp_path / "no config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "no credentials"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "XDG_STATE_HOME": str(tmp_path / "state"),
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    forget_stores()
    yield values
    forget_stores()


class Bucket:
    """A bucket as another program sees it."""

    def __init__(self, endpoint, name):
        self.name = name
        self.client = boto3.client("s3", endpoint_url=endpoint)
        self.client.create_bucket(Bucket=name)

    def put(self, key, data):
        self.client.put_object(Bucket=self.name, Key=key, Body=data)

    def put_tree(self, folder, prefix):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder)}", path.read_bytes())

    def get(self, key):
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def keys(self, prefix=""):
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.name, Prefix=prefix)
        return [entry["Key"] for page in pages for entry in page.get("Contents", ())]

    def tree(self, prefix):
        """The results below a prefix, without the ledger's copy."""
        return {
            key[len(prefix) + 1 :]: self.get(key)
            for key in self.keys(f"{prefix}/")
            if not key.endswith("/.filterworks.sqlite")
        }

    def uploads(self):
        return self.client.list_multipart_uploads(Bucket=self.name).get("Uploads", [])

    def remove(self, key):
        self.client.delete_object(Bucket=self.name, Key=key)

    def url(self, key):
        return f"s3://{self.name}/{key}"


@pytest.fixture
def bucket(account, moto):
    made = Bucket(moto, f"bucket-{os.getpid()}-{random.getrandbits(48):x}")
    yield made
    made.client.close()


class Proxy:
    """A TCP proxy: `stop` closes it and every connection, `start` opens it on the same port again."""

    def __init__(self, target):
        host, port = target.removeprefix("http://").split(":")
        self.target, self.port, self.open, self.listener = (host, int(port)), 0, set(), None
        self.is_up = False

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}"

    def start(self):
        self.listener = socket.create_server(("127.0.0.1", self.port), reuse_port=False)
        self.port, self.is_up = self.listener.getsockname()[1], True
        threading.Thread(target=self._accept, args=(self.listener,), daemon=True).start()
        return self

    def _accept(self, listener):
        while True:
            try:
                near, _ = listener.accept()
                far = socket.create_connection(self.target)
            except OSError:
                return
            for one in (near, far):
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)
            self.open |= {near, far}
            if not self.is_up:  # accepted just when it was stopped
                near.close()
                far.close()
                return
            threading.Thread(target=self._connect, args=(near, far), daemon=True).start()

    def _connect(self, near, far):
        back = threading.Thread(target=self._pump, args=(far, near), daemon=True)
        back.start()
        self._pump(near, far)
        back.join()
        # Not before both are through: the numbers of closed sockets are given to others.
        for one in (near, far):
            self.open.discard(one)
            one.close()

    def _pump(self, source, sink):
        try:
            while data := source.recv(1 << 16):
                sink.sendall(data)
        except OSError:
            pass
        for one in (source, sink):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def stop(self):
        if not self.is_up:
            return
        self.is_up = False
        # A listener that another thread waits at is only woken by a shutdown.
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        for one in list(self.open):
            with suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def proxy(moto, account, monkeypatch):
    """A proxy between the commands of the test and the server."""
    made = Proxy(moto).start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", made.url)
    forget_stores()
    yield made
    made.stop()


_CODES = {
    503: "SlowDown",
    500: "InternalError",
    429: "TooManyRequests",
    412: "PreconditionFailed",
    403: "AccessDenied",
}


class Throttling(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # or each body waits until the headers before it are acknowledged

    def _status(self, body):
        return self.server.turn(self.command, self.path)

    def _pass(self):
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        if len(body) < length:
            self.close_connection = True
            return
        server = self.server
        server.calls += 1
        status = self._status(body)
        if status > 0:
            server.refused += 1
            code = _CODES[status]
            text = f"<Error><Code>{code}</Code><Message>{server.message}</Message></Error>".encode()
            self._answer(status, [("Content-Type", "application/xml")], text)
            return
        far = http.client.HTTPConnection(*server.target)
        far.request(self.command, self.path, body, dict(self.headers))
        answer = far.getresponse()
        data = answer.read()
        if status < 0:
            server.refused += 1
            self.close_connection = True
            far.close()
            if status == LOST:
                return
        kept = [
            (k, v) for k, v in answer.getheaders() if k.lower() not in ("connection", "transfer-encoding")
        ]
        if self.command != "HEAD":
            kept = [(k, v) for k, v in kept if k.lower() != "content-length"]
        if status == BROKEN:
            kept = [(k, v) for k, v in kept if k.lower() != "content-length"]
            kept, data = [*kept, ("Content-Length", str(len(data)))], data[: len(data) // 2]
        self._answer(answer.status, kept, data)
        far.close()

    def _answer(self, status, headers, data):
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        if not any(name.lower() == "content-length" for name, _ in headers):
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_PUT = do_HEAD = do_POST = do_DELETE = _pass  # noqa: N815  # names that http.server looks for

    def log_message(self, *args):
        pass


@pytest.fixture
def turnstile(moto, account, monkeypatch):
    """An HTTP proxy that answers as its `turn(method, path)` says: a status, 0 to let through, LOST or BROKEN."""
    host, port = moto.removeprefix("http://").split(":")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Throttling)
    server.daemon_threads = True
    server.target, server.calls, server.refused, server.message = (host, int(port)), 0, 0, "reduce your rate"
    server.turn = lambda method, path: 0
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{server.server_address[1]}")
    forget_stores()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def failing(turnstile, proxy, monkeypatch):
    """A proxy that stops for good just when the sixth result is put: it is stored, the answer is lost."""
    host, port = turnstile.server_address[:2]
    proxy.target, puts, turn = (host, port), set(), threading.Lock()
    stopped = proxy.stopped = threading.Event()

    def stop(method, path):
        if method == "PUT" and "/out/part" in path:
            with turn:
                puts.add(path)
                if len(puts) == 6 and not stopped.is_set():
                    proxy.stop()
                    stopped.set()
        return 0

    turnstile.turn = stop
    monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
    forget_stores()
    return proxy


@pytest.fixture
def small(tmp_path):
    """Twenty-four small pictures in folders."""
    import numpy as np
    from PIL import Image

    folder = tmp_path / "small"
    noise = np.random.default_rng(7)
    for number in range(24):
        place = folder / f"part {number % 3}" / f"{number:03}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(noise.integers(0, 256, (40, 60), np.uint8)).save(place)
    return folder

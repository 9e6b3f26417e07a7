"""A store of objects that speaks the protocol of S3 on this machine, counts what it gives, and can fail."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from threading import Thread
from typing import Any

from werkzeug.serving import make_server

KEYS = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_DEFAULT_REGION": "us-east-1"}


@dataclass
class Store:
    """A server of objects.

    Attributes:
        application: What answers.
        port: On the loopback interface.
        given: Path and bytes of every answer to a GET.
        most: Bytes after which it refuses everything; None for ever.
        then: Called once after so many bytes.
    """

    application: Callable[..., Iterable[bytes]]
    port: int = 0
    given: list[tuple[str, int]] = field(default_factory=list)
    most: int | None = None
    then: tuple[int, Callable[[], object]] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def environment(self) -> dict[str, str]:
        """What leads a process to it."""
        return {**KEYS, "AWS_ENDPOINT_URL": self.address, "GDAL_HTTP_MAX_RETRY": "0"}

    @property
    def bytes(self) -> int:
        return sum(n for _, n in self.given)

    def put(self, key: str, path: Path) -> str:
        """Stores a file; its address."""
        import boto3

        keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
        client = boto3.client("s3", endpoint_url=self.address, region_name="us-east-1", **keys)
        client.create_bucket(Bucket="bucket")
        client.put_object(Bucket="bucket", Key=key, Body=path.read_bytes(), ACL="public-read")
        return f"s3://bucket/{key}"

    def __call__(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if self.most is not None and self.bytes > self.most:
            start_response("403 Forbidden", [("Content-Length", "0")])
            return [b""]
        then, self.then = self.then, None
        if then is not None and self.bytes > then[0]:
            then[1]()
        else:
            self.then = then
        answer = self.application(environ, start_response)
        if environ["REQUEST_METHOD"] != "GET":
            return answer
        body = b"".join(answer)
        self.given.append((environ["PATH_INFO"], len(body)))
        return [body]


@contextmanager
def running_store() -> Iterator[Store]:
    """A store while it is needed."""
    from moto.server import DomainDispatcherApplication, create_backend_app

    store = Store(DomainDispatcherApplication(create_backend_app))
    server = make_server("127.0.0.1", 0, store, threaded=True)
    store.port = server.server_port
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield store
    finally:
        server.shutdown()
        thread.join()

"""Blocks on a Dask cluster: one made for the run on this machine, or one that is running already.

A block is one Dask task whose arguments and answer are paths, numbers and small dataclasses. Whoever calls
`segment` waits for its block, so the steps of a run look the same as with threads.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

from distributed import Client, Future, KilledWorker

from flows.dask_cluster import local_cluster
from tasks.blocks.attempts import Attempts, forget_attempts
from tasks.blocks.segment import BlockOutcome
from tasks.blocks.session import close_sessions
from tasks.blocks.spread import Attempt, attempt_block, lose_block, this_code, worker_facts
from tasks.errors import SegflowError
from tasks.files import writing
from tasks.imagery.source import Source
from tasks.imagery.validity.asked import mask_files
from tasks.planning.request import Request
from tasks.planning.step import Planned, plan_item
from tasks.work import WorkFolder

logger = logging.getLogger(__name__)

#: One runs, the next is there when it ends.
PER_WORKER = 2
#: Times that Dask may give a block up before we do; each is several dead workers.
GIVEN_UP = 3
#: Seconds to wait for a scheduler and its first worker, and between looks for lost workers.
PATIENCE = 60


class DaskPlace:
    """Blocks on the workers of a cluster, which is reached, or made, when the first is needed.

    Args:
        address: Of a running scheduler, ``tcp://host:port``; None makes a cluster on this machine.
        workers: Processes of a cluster made here.
    """

    def __init__(self, address: str | None, *, workers: int) -> None:
        self._address = address
        self._workers = workers
        self._cluster: Any = None
        self._client: Client | None = None
        self._facts: dict[str, tuple[int, int]] = {}
        self._begun = threading.RLock()

    def plan(self, request: Request) -> Planned:
        """Plans on a worker, so that the engine is chosen on the hardware that will run it."""
        work = request.work()
        with writing(work.root):
            work.root.mkdir(parents=True, exist_ok=True)
        self._look(request)
        return self._run(plan_item, request)

    def begin(self, work: WorkFolder) -> None:
        """Gives every block its attempts anew."""
        forget_attempts(work)

    def slots(self) -> int:
        """Twice what the workers of this moment compute at once; they may come and go."""
        if self._address is None:
            return PER_WORKER * self._workers
        addresses = set(self._connected().nthreads())
        gpus = sum(g for a, (_, g) in self._facts.items() if a in addresses)
        known = gpus or sum(t for a, (t, _) in self._facts.items() if a in addresses)
        return PER_WORKER * max(1, known + len(addresses - self._facts.keys()))

    def segment(self, work: WorkFolder, number: int) -> BlockOutcome:
        """Segments one block; one that kills its worker again and again is given up.

        Raises:
            SegflowError, ModelError: From the worker; or the scheduler went away.
        """
        for _ in range(GIVEN_UP):
            try:
                attempt: Attempt = self._run(attempt_block, work, number, this_code(), block=number)
            except KilledWorker:
                continue  # Dask blames all that waited for a dead worker; the attempts know which it was
            if attempt.outcome is not None:
                if attempt.deaths:
                    logger.warning("block %d was computed again: %s died", number, attempt.deaths[-1])
                return attempt.outcome
            break
        deaths = Attempts(work, number).deaths()
        with self._begun:  # one at a time: each holds a block's memory in this process
            outcome = lose_block(work, number, deaths)
        logger.warning("%s", outcome.failures[0].reason if outcome.failures else f"block {number} is lost")
        return outcome

    def close(self) -> None:
        """Leaves the cluster; one made here ends with its workers."""
        with self._begun:
            client, cluster = self._client, self._cluster
            self._client = self._cluster = None
        if client is not None:
            if cluster is None:
                client.run(close_sessions, on_error="ignore")
            client.close()
        if cluster is not None:
            cluster.close()

    def _run(self, step: Any, *arguments: Any, block: int | None = None) -> Any:
        """One step on a worker, to its end."""
        client = self._connected()
        with self._answering():
            name = step.__name__ if block is None else f"block-{block:08d}"
            gpu = any(gpus for _, gpus in self._facts.values())
            future = client.submit(
                step,
                *arguments,
                key=f"{name}-{uuid4().hex}",
                pure=False,
                resources={"GPU": 1} if gpu else None,
            )
            try:
                return self._result(client, future)
            finally:
                future.release()

    def _result(self, client: Client, future: Future[Any]) -> Any:
        while True:
            try:
                return future.result(timeout=PATIENCE)
            except TimeoutError:
                # A step may raise TimeoutError itself; then the future is done.
                if future.done():
                    raise
                if not client.nthreads():
                    logger.warning("the cluster has no worker left; waiting for one")

    def _look(self, request: Request) -> None:
        """Asks every worker that is there for what it is, before anything is computed.

        Raises:
            SegflowError: One of them cannot help; says which and why.
        """
        client = self._connected()
        model = Path(request.model)
        named = [p for p in (model, request.aoi) if p is not None and p.is_absolute()]
        beside = mask_files(request.image, request.parameters.reading.valid)
        masks = [p for uri in beside for p in Source.of(uri).paths]
        paths = (*request.image.paths, *masks, request.work().root, *named)
        with self._answering():
            try:
                facts = client.run(worker_facts, this_code(), paths)
            except ModuleNotFoundError as error:
                raise SegflowError(
                    f"a worker at {self._address} cannot import {error.name}: install segflow, in the same "
                    "version, in the environment of every worker"
                ) from error
        self._facts = facts

    def _connected(self) -> Client:
        with self._begun:
            if self._client is None:
                self._client = self._connect()
            return self._client

    def _connect(self) -> Client:
        if self._address is None:
            self._cluster = local_cluster(self._workers)
            return Client(self._cluster, set_as_default=False)
        try:
            client = Client(self._address, set_as_default=False, timeout=PATIENCE // 4)
        except (OSError, TimeoutError) as error:
            raise SegflowError(
                f"no Dask scheduler answers at {self._address}: start one with `dask scheduler`, or check the "
                "address and the firewall"
            ) from error
        try:
            client.wait_for_workers(1, timeout=PATIENCE)
        except TimeoutError as error:
            client.close()
            raise SegflowError(
                f"the Dask scheduler at {self._address} has no worker: start one with "
                f"`dask worker {self._address} --nthreads 1`"
            ) from error
        return client

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except CancelledError as error:
            raise SegflowError(
                f"the Dask scheduler at {self._address or 'this machine'} went away; finished blocks are kept, "
                "run again to continue"
            ) from error

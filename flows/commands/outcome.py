"""From exceptions to exit codes, and from results to what is printed."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer


@contextmanager
def reported(*, debug: bool, as_json: bool) -> Iterator[None]:
    """Turns errors inside the block into one sentence on standard error and an exit code.

    With ``as_json`` an object with ``status`` *failed*, ``error`` and ``exit_code`` goes to
    standard output too. With ``debug`` the traceback is shown.
    """
    from segmodels.errors import ModelError
    from tasks.errors import SegflowError

    try:
        yield
    except typer.Exit:
        raise
    except KeyboardInterrupt:
        _fail("interrupted; run the same command again to continue", 130, debug=debug, as_json=as_json)
    except SegflowError as error:
        _fail(str(error), error.exit_code, debug=debug, as_json=as_json)
    except ModelError as error:
        _fail(str(error), 3, debug=debug, as_json=as_json)
    except BrokenPipeError:
        raise typer.Exit(1) from None
    except OSError as error:
        what = error.strerror or type(error).__name__
        text = f"{error.filename or 'the system'}: {what}; check the path, its permissions and its disk"
        _fail(text, 1, debug=debug, as_json=as_json)
    except Exception as error:
        text = f"unexpected {type(error).__name__}: {error}; run again with --debug and report the traceback"
        _fail(text, 1, debug=debug, as_json=as_json)


def _fail(text: str, code: int, *, debug: bool, as_json: bool) -> None:
    if debug:
        logging.getLogger("segflow").exception("the error in full")
    typer.echo(f"segflow: {' '.join(text.split())}", err=True)
    if as_json:
        print_json({"status": "failed", "error": text, "exit_code": code})
    raise typer.Exit(code)


def print_json(value: dict[str, Any]) -> None:
    """One object on standard output, and nothing else."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()

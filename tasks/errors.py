"""Typed errors of the steps; each carries the exit code that scripts see."""

from typing import ClassVar


class SegflowError(Exception):
    """Base of every error that a user can act on: one sentence, with the remedy."""

    exit_code: ClassVar[int] = 1


class UsageError(SegflowError):
    """Options that contradict each other or name something that is not there."""

    exit_code = 2


class InputError(SegflowError):
    """The image (or its combination with the model) is refused."""

    exit_code = 3


class OutputError(SegflowError):
    """The output cannot be written: permissions, space, a name in the way."""

    exit_code = 1


class OwnedError(SegflowError):
    """Another run owns this output."""

    exit_code = 6

"""Order, errors and early ends of things made one ahead."""

import threading

import pytest

from tasks.ahead import one_ahead


def test_order_is_kept_and_only_one_is_made_ahead():
    made = []

    def things():
        for i in range(5):
            made.append(i)
            yield [i]

    for i, thing in enumerate(one_ahead(things())):
        assert thing == [i]
        assert len(made) <= i + 2
    assert made == [0, 1, 2, 3, 4]


def test_the_next_is_made_while_this_is_used():
    ready = threading.Event()

    def things():
        yield 1
        ready.set()
        yield 2

    ahead = one_ahead(things())
    assert next(ahead) == 1
    assert ready.wait(5)
    assert list(ahead) == [2]


def test_an_error_comes_in_its_place():
    def things():
        yield 1
        raise ValueError("broken")

    ahead = one_ahead(things())
    assert next(ahead) == 1
    with pytest.raises(ValueError, match="broken"):
        next(ahead)


def test_nothing_gives_nothing():
    assert list(one_ahead(iter(()))) == []

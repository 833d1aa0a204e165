"""What a worker sends back."""

import pickle

from krylax.datasets.generation._workers import _portable


class Stubborn(Exception):
    def __init__(self, reason: str, number: int) -> None:
        super().__init__(reason)
        self.number = number


def caught(error: Exception) -> Exception:
    try:
        raise error
    except Exception as same:
        return same


def test_an_error_comes_back_with_where_it_was_raised() -> None:
    sent = _portable(caught(ValueError("no such sample")))
    received = pickle.loads(pickle.dumps(sent))
    assert (type(received), str(received)) == (ValueError, "no such sample")
    assert "in caught" in received.__notes__[0]


def test_an_error_that_cannot_be_sent_comes_back_in_words() -> None:
    received = pickle.loads(pickle.dumps(_portable(caught(Stubborn("full", 7)))))
    assert (type(received), str(received)) == (RuntimeError, "Stubborn: full")

"""Pauses of Python's garbage collection end, whatever happens in them."""

import gc

import pytest

from isda_bench.runtime.garbage_collection import no_garbage_collection


def test_a_pause_ends_after_an_error_too():
    with pytest.raises(ValueError), no_garbage_collection():
        assert not gc.isenabled()
        raise ValueError
    assert gc.isenabled()


def test_a_pause_leaves_a_collection_alone_that_was_off_before():
    gc.disable()
    try:
        with no_garbage_collection():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()

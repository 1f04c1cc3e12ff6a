"""Messages survive the way there and back, and a torn one is noticed."""

from __future__ import annotations

import io
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.errors import ToolkitFault, UsageError
from toolkit.widgets.jobs.message import pack, read_message, unpack, write_message

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text() | st.sampled_from(["$array", "$bytes", "$dict"]), inner),
    max_leaves=12,
)


@given(VALUES)
@settings(max_examples=60, deadline=None)
def test_there_and_back(value: Any) -> None:
    assert unpack(pack(value)) == value


@pytest.mark.parametrize("dtype", ["bool", "int16", "uint8", "int64", "float16", "float32", "float64"])
def test_arrays_keep_type_and_shape_and_can_be_written(dtype: str) -> None:
    array = unpack(pack(np.ones((2, 0, 3), dtype)))
    assert (array.dtype.name, array.shape) == (dtype, (2, 0, 3))
    array = unpack(pack(np.arange(6, dtype="float64")[::2].astype(dtype)))
    array[0] = 1
    assert array.size == 3


def test_what_is_like_a_list_a_text_or_a_number_becomes_one() -> None:
    assert unpack(pack({"a": (1, np.float32(0.5)), "b": Path("x/y")})) == {"a": [1, 0.5], "b": str(Path("x/y"))}


@pytest.mark.parametrize("value", [object(), {1, 2}, np.array(["a"]), np.array([None]), 1j])
def test_what_could_run_code_or_lose_something_is_refused(value: object) -> None:
    with pytest.raises(UsageError, match="cannot be sent to or from a worker"):
        pack(value)


def test_a_stream_of_messages_ends_quietly_even_when_it_is_torn() -> None:
    stream = io.BytesIO()
    write_message(stream, {"n": 1})
    write_message(stream, {"n": np.zeros(9)})
    data = stream.getvalue()
    for length in (len(data) - 1, len(data) - 60, len(pack({"n": 1})) + 3):
        torn = io.BytesIO(data[:length])
        assert read_message(torn) == {"n": 1}
        assert read_message(torn) is None


def test_bytes_that_are_no_message_are_told() -> None:
    with pytest.raises(ToolkitFault, match="cut off"):
        unpack(b"")
    with pytest.raises(ToolkitFault, match="cut off"):
        unpack(pack([1])[:-1])
    with pytest.raises(ToolkitFault, match="none of ours"):
        read_message(io.BytesIO(struct.pack("<IQ", 1, 2**60)))

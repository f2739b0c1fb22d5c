# cython: language_level=3
"""What the frame listener is measured against: the same compiled callback with less in it. Benchmarks only.

`RawListener` takes frames and looks at nothing; `DecodeListener` decodes each frame with msgspec and drops the result:
the ceiling of anything that decodes with msgspec.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.memoryview cimport PyMemoryView_FromMemory
from cpython.buffer cimport PyBUF_READ

from picows.picows cimport WSFrame, WSListener, WSTransport

cdef enum:
    # As in the frame listener: above this a copy of the payload costs more than a memoryview object.
    COPY_MAX = 1024


cdef class RawListener(WSListener):
    """Count frames; `on_count(frames)` is called at the end of each socket read."""

    cdef object _on_count
    cdef readonly long long frames

    def __init__(self, on_count):
        self._on_count = on_count
        self.frames = 0

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        self.frames += 1
        if frame.last_in_buffer:
            self._on_count(self.frames)


cdef class DecodeListener(WSListener):
    """Decode each frame with ``decode`` (a bound ``msgspec.json.Decoder.decode``) and drop the result."""

    cdef object _on_count
    cdef object _decode
    cdef readonly long long frames

    def __init__(self, decode, on_count):
        self._decode = decode
        self._on_count = on_count
        self.frames = 0

    def decode_with(self, decode):
        """Use another decoder from now on: what comes before the market is none of it."""
        self._decode = decode

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        self.frames += 1
        if frame.payload_size <= COPY_MAX:
            self._decode(PyBytes_FromStringAndSize(frame.payload_ptr, frame.payload_size))
        else:
            self._decode(PyMemoryView_FromMemory(frame.payload_ptr, frame.payload_size, PyBUF_READ))
        if frame.last_in_buffer:
            self._on_count(self.frames)

# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Messages as WebSocket frames, thousands at a time: the simulator's one hot loop.

A declaration of parts (`openbell.simulator.parts`) is turned into a list of small operations once, and run for every
event: about 150 ns for a trade, where formatting it in Python takes some microseconds and in numpy, column by column,
1.4. A server's frames are unmasked and need nothing from the connection, so that they can be written ahead
(RFC 6455 §5.2).
"""

from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.mem cimport PyMem_Free, PyMem_Realloc
from libc.stdint cimport int64_t, uint64_t
from libc.string cimport memcpy, memmove

import numpy as np

from openbell.simulator import parts as vocabulary

cdef enum:
    MAX_OPERATIONS = 64
    MAX_COLUMNS = 32
    # The header of most frames; the payload of another one is moved to its place when its size is known.
    USUAL_HEADER = 4
    LARGEST_HEADER = 10
    NUMBER_BYTES = 20
    SLACK = 32

cdef enum:
    LITERAL
    TEXT
    NUMBER
    REPEAT

cdef struct Operation:
    int kind
    int column
    int decimals
    int inner  # of a REPEAT: how many of the operations after it
    const char *text
    Py_ssize_t length
    const Py_ssize_t *starts  # of a TEXT: where each of its texts begins, and one more
    Py_ssize_t texts

cdef struct Column:
    const int64_t *values
    Py_ssize_t width

cdef extern from *:
    int __builtin_clzll(unsigned long long) noexcept nogil

cdef char _PAIRS[200]
for _pair in range(100):
    _PAIRS[2 * _pair] = 48 + _pair // 10
    _PAIRS[2 * _pair + 1] = 48 + _pair % 10

cdef uint64_t _POWERS[20]
_POWERS[0] = 1
for _power in range(1, 20):
    _POWERS[_power] = _POWERS[_power - 1] * 10


cdef inline int _width(uint64_t value) noexcept nogil:
    """Return how many digits a number below 10^19 has."""
    # 1233 / 4096 is log10(2): the guess is right, or one too low.
    cdef int guess = ((64 - __builtin_clzll(value | 1)) * 1233) >> 12
    return guess + (value >= _POWERS[guess]) if value else 1


cdef inline char *_digits(char *out, uint64_t value, int width) noexcept nogil:
    """Write the last `width` digits of a number, in place: no copy of short and unlike lengths."""
    cdef char *at = out + width
    cdef uint64_t rest
    cdef int left = width
    while left >= 2:
        rest = value // 100
        at -= 2
        memcpy(at, _PAIRS + 2 * (value - rest * 100), 2)
        value = rest
        left -= 2
    if left:
        out[0] = <char>(48 + value % 10)
    return out + width


cdef inline char *_copy(char *out, const char *text, Py_ssize_t length) noexcept nogil:
    """Copy a text that has `SLACK` bytes behind it to where there is as much room."""
    if length <= SLACK:
        # Of a length that the compiler knows: two moves, no call.
        memcpy(out, text, SLACK)
    else:
        memcpy(out, text, length)
    return out + length


cdef class Writer:
    """Writes events of one kind as frames.

    Parameters
    ----------
    parts : sequence of Part
        A message.
    framing : Framing

    Raises
    ------
    ValueError
        The message has more parts than fit, a text is missing, or what repeats has no number in it.
    """

    cdef Operation operations[MAX_OPERATIONS]
    cdef int count
    cdef Py_ssize_t group
    cdef bytes opening, separator, closing
    cdef list names
    cdef list kept
    cdef char *buffer
    cdef Py_ssize_t room

    def __init__(self, parts, framing):
        self.names, self.kept, self.count = [], [], 0
        self.opening, self.separator, self.closing = framing.opening, framing.separator, framing.closing
        self.group = framing.group
        if self.group < 1:
            raise ValueError(f"a frame of {framing.group} events")
        self._compile(parts)

    def _compile(self, parts):
        cdef Operation *operation
        cdef bytes text
        cdef int before
        for part in parts:
            if self.count == MAX_OPERATIONS:
                raise ValueError(f"a message of more than {MAX_OPERATIONS} parts")
            operation = &self.operations[self.count]
            self.count += 1
            operation.column, operation.decimals, operation.inner = -1, 0, 0
            if isinstance(part, bytes):
                text = part + bytes(SLACK)
                self.kept.append(text)
                operation.kind = LITERAL
                operation.text, operation.length = PyBytes_AS_STRING(text), len(part)
            elif isinstance(part, vocabulary.Text):
                operation.kind, operation.column = TEXT, self._column(part.column)
                if not part.texts:
                    raise ValueError(f"no texts for {part.column}")
                text = b"".join(part.texts) + bytes(SLACK)
                lengths = np.array([0, *(len(each) for each in part.texts)], dtype=np.intp)
                starts = np.cumsum(lengths).astype(np.intp).tobytes()
                self.kept += [text, starts]
                operation.text, operation.texts = PyBytes_AS_STRING(text), len(part.texts)
                operation.starts = <const Py_ssize_t *>PyBytes_AS_STRING(starts)
                operation.length = max(lengths)
            elif isinstance(part, vocabulary.Number):
                if not 0 <= part.decimals <= 18:
                    raise ValueError(f"{part.column}: {part.decimals} decimals")
                operation.kind, operation.column = NUMBER, self._column(part.column)
                operation.decimals, operation.length = part.decimals, NUMBER_BYTES + 1
            else:
                # Its numbers bound how often it can repeat, and so the room that it needs.
                if not any(isinstance(each, vocabulary.Number) for each in part.parts):
                    raise ValueError(f"what repeats {part.count} times has no number in it")
                if not all(isinstance(each, (bytes, vocabulary.Number)) for each in part.parts):
                    raise ValueError(f"what repeats {part.count} times has something else than texts and numbers in it")
                operation.kind, operation.column = REPEAT, self._column(part.count)
                before = self.count
                self._compile(part.parts)
                operation.inner = self.count - before

    def _column(self, name):
        if name not in self.names:
            if len(self.names) == MAX_COLUMNS:
                raise ValueError(f"a message of more than {MAX_COLUMNS} columns")
            self.names.append(name)
        return self.names.index(name)

    def frames(self, columns, chosen):
        """Return events as frames, one after the other.

        Parameters
        ----------
        columns : mapping of str to ndarray of int64
            The values, an entry an event of the block; two dimensions for what is repeated. C-contiguous.
        chosen : ndarray of int64
            Which events to write: indexes, ascending. Groups are counted from the block's beginning.

        Returns
        -------
        frames : bytes
        offsets : ndarray of int64, shape (len(chosen) + 1,)
            Events ``i`` to ``j`` are ``frames[offsets[i]:offsets[j]]``: whole frames, if they are whole groups.

        Raises
        ------
        KeyError, TypeError, ValueError
            A column is missing, is no array of int64 or is too short; a number is below 0; a text's index is none.
        """
        cdef Py_buffer views[MAX_COLUMNS + 1]
        cdef Column found[MAX_COLUMNS]
        cdef int held = 0, i
        cdef Py_ssize_t events = len(chosen), highest = -1, bound
        offsets = np.zeros(events + 1, dtype=np.int64)
        if not events:
            return b"", offsets
        try:
            _hold(&views[0], chosen, "chosen")
            held = 1
            highest = (<const int64_t *>views[0].buf)[events - 1]
            for i, name in enumerate(self.names):
                _hold(&views[held], columns[name], name)
                held += 1
                found[i].values = <const int64_t *>views[held - 1].buf
                found[i].width = views[held - 1].shape[1] if views[held - 1].ndim == 2 else 1
                if views[held - 1].shape[0] <= highest or (<const int64_t *>views[0].buf)[0] < 0:
                    raise ValueError(f"{name}: {views[held - 1].shape[0]} values, and event {highest} is to be written")
            bound = self._bound(found) + LARGEST_HEADER + len(self.opening) + len(self.separator) + len(self.closing)
            return self._write(found, <const int64_t *>views[0].buf, events, highest, bound * events, offsets), offsets
        finally:
            for i in range(held):
                PyBuffer_Release(&views[i])

    cdef Py_ssize_t _bound(self, Column *columns) except -1:
        """Return more bytes than any message has."""
        cdef Py_ssize_t total = 0, times = 1
        cdef int i, j, last = 0
        for i in range(self.count):
            if i >= last:
                times = 1
            if self.operations[i].kind == REPEAT:
                last = i + 1 + self.operations[i].inner
                for j in range(i + 1, last):
                    if self.operations[j].kind == NUMBER:
                        times = max(times, columns[self.operations[j].column].width)
            else:
                # One more for the comma.
                total += (self.operations[i].length + 1) * times
        return total

    cdef char *_scratch(self, Py_ssize_t size) except NULL:
        """Return room to write in, the same every time: fresh memory costs as much as the writing."""
        cdef char *larger
        if size > self.room:
            larger = <char *>PyMem_Realloc(self.buffer, size)
            if larger == NULL:
                raise MemoryError(f"{size} bytes for frames")
            self.buffer, self.room = larger, size
        return self.buffer

    def __dealloc__(self):
        PyMem_Free(self.buffer)

    cdef bytes _write(self, Column *columns, const int64_t *chosen, Py_ssize_t events, Py_ssize_t highest, Py_ssize_t bound,
                      offsets):
        cdef char *base = self._scratch(bound + SLACK)
        cdef char *out = base
        cdef char *frame = base
        cdef Py_buffer view
        cdef int64_t *at
        cdef Py_ssize_t i, row, current = -1
        cdef const char *opening = PyBytes_AS_STRING(self.opening)
        cdef const char *separator = PyBytes_AS_STRING(self.separator)
        cdef const char *closing = PyBytes_AS_STRING(self.closing)
        cdef Py_ssize_t opened = len(self.opening), separated = len(self.separator), closed = len(self.closing)
        PyObject_GetBuffer(offsets, &view, PyBUF_ND)
        at = <int64_t *>view.buf
        try:
            for i in range(events):
                row = chosen[i]
                if not 0 <= row <= highest:
                    raise ValueError(f"events are to be written in their order, and {row} comes before {highest}")
                if current < 0 or row // self.group != current:
                    if current >= 0:
                        memcpy(out, closing, closed)
                        out = _close(frame, out + closed)
                    current = row // self.group
                    at[i] = out - base
                    frame = out
                    out += USUAL_HEADER
                    memcpy(out, opening, opened)
                    out += opened
                else:
                    at[i] = out - base
                    memcpy(out, separator, separated)
                    out += separated
                out = _row(self.operations, self.operations + self.count, columns, row, 0, out)
                if out == NULL:
                    raise ValueError(f"event {row}: a number below 0, or an index of nothing")
            memcpy(out, closing, closed)
            out = _close(frame, out + closed)
            at[events] = out - base
        finally:
            PyBuffer_Release(&view)
        return PyBytes_FromStringAndSize(base, out - base)


cdef int _hold(Py_buffer *view, object array, str name) except -1:
    PyObject_GetBuffer(array, view, PyBUF_ND | PyBUF_FORMAT)
    if view.itemsize != 8 or view.format == NULL or view.format[0] not in (c"l", c"q") or not 1 <= view.ndim <= 2:
        PyBuffer_Release(view)
        raise TypeError(f"{name}: an array of int64 in one or two dimensions is needed")
    return 0


cdef char *_row(
    const Operation *operation,
    const Operation *end,
    const Column *columns,
    Py_ssize_t row,
    Py_ssize_t time,
    char *out,
) noexcept nogil:
    """Run operations for one event; return the end of what was written, NULL for an impossible value."""
    cdef int64_t value
    cdef Py_ssize_t start, length, i
    cdef int width, whole
    while operation < end:
        if operation.kind == LITERAL:
            out = _copy(out, operation.text, operation.length)
            operation += 1
            continue
        if time >= columns[operation.column].width:
            return NULL
        value = columns[operation.column].values[row * columns[operation.column].width + time]
        if value < 0:
            return NULL
        if operation.kind == NUMBER:
            if operation.decimals:
                # All digits, and then room for the point: cheaper than a division by a power that varies.
                width = max(_width(value), operation.decimals + 1)
                _digits(out, value, width)
                whole = width - operation.decimals
                for i in range(width, whole, -1):
                    out[i] = out[i - 1]
                out[whole] = c"."
                out += width + 1
            else:
                out = _digits(out, value, _width(value))
        elif operation.kind == TEXT:
            if value >= operation.texts:
                return NULL
            start = operation.starts[value]
            length = operation.starts[value + 1] - start
            out = _copy(out, operation.text + start, length)
        else:
            # Before anything is written: there is room for as many as there are values, and no more.
            for i in range(1, operation.inner + 1):
                if operation[i].kind == NUMBER and value > columns[operation[i].column].width:
                    return NULL
            for i in range(value):
                if i:
                    out[0] = c","
                    out += 1
                out = _row(operation + 1, operation + 1 + operation.inner, columns, row, i, out)
                if out == NULL:
                    return NULL
            operation += operation.inner
        operation += 1
    return out


cdef char *_close(char *frame, char *out) noexcept nogil:
    """Write the header of the frame that begins here; return its end."""
    cdef Py_ssize_t size = out - frame - USUAL_HEADER
    cdef int i
    frame[0] = <char>0x81  # FIN and the opcode of a text frame
    if size < 126:
        frame[1] = <char>size
        memmove(frame + 2, frame + USUAL_HEADER, size)
        return out - 2
    if size < 65536:
        frame[1] = 126
        frame[2] = <char>(size >> 8)
        frame[3] = <char>(size & 0xFF)
        return out
    memmove(frame + 10, frame + USUAL_HEADER, size)
    frame[1] = 127
    for i in range(8):
        frame[2 + i] = <char>((size >> (8 * (7 - i))) & 0xFF)
    return out + 6

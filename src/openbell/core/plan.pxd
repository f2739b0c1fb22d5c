# cython: language_level=3
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint16_t, uint32_t

from openbell.core.layout cimport Record
from openbell.core.symbols cimport Key

cdef enum:
    ROUTES_MAX = 16
    FIELDS_MAX = 16
    MARKER_WINDOW = 96

ctypedef struct CompiledField:
    int op
    int target
    uint16_t flag
    int reason
    Py_ssize_t offset
    int64_t scale
    bint expect_text
    int64_t expect_int
    const char *text
    Py_ssize_t text_length

ctypedef struct CompiledRoute:
    int kind
    # Reason under which frames with the marker are counted, undecoded; -1: a real route.
    int ignore
    bint many
    Py_ssize_t path_offset
    Py_ssize_t expect_offset
    CompiledField expect
    Py_ssize_t symbol_offset
    int field_count
    CompiledField fields[FIELDS_MAX]
    const char *marker
    Py_ssize_t marker_length
    # Where the marker was last found: a venue's messages hardly vary, so look there first.
    Py_ssize_t hint
    # Which of the plan's streams that the vendor numbers without a break it is; -1: it does not.
    int stream
    PyObject *decode
    PyObject *event_type
    # Of an order book, bids and asks: where the side's list is (-1: the route has none), and price and size in a level.
    Py_ssize_t side_offset[2]
    Py_ssize_t level_price[2]
    Py_ssize_t level_size[2]


cdef class Plan:
    cdef CompiledRoute routes[ROUTES_MAX]
    cdef readonly int count
    cdef int hinted
    cdef readonly tuple declaration
    cdef list _held
    # How many of its routes are numbered without a break.
    cdef readonly int streams
    cdef char prefix[32]
    cdef Py_ssize_t prefix_length

    cdef _compile(self, CompiledRoute *to, object entry)
    cdef _field(self, CompiledField *to, object field, int op, Py_ssize_t offset, object where)
    cdef _expect(self, CompiledField *to, object value, object where)
    cdef CompiledRoute *match(self, const char *data, Py_ssize_t size) noexcept
    cdef int key_of(self, const CompiledRoute *route, PyObject *event, Key *key) noexcept
    cdef int convert(self, const CompiledRoute *route, PyObject *event, Record *record) noexcept
    cdef int convert_book(self, const CompiledRoute *route, PyObject *event, Record *records, int most, int *n) noexcept
    cdef _book_side(self, CompiledRoute *to, object entry, object field, int side, Py_ssize_t offset, object where)
    cdef int64_t number_of(self, const CompiledRoute *route, PyObject *event) noexcept
    cdef int frame_differs(self, const CompiledRoute *route, PyObject *frame) noexcept

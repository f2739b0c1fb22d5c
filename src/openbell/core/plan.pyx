# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""A vendor's declaration, compiled: from the members of a decoded Struct to the fields of a record, with every guard.

`openbell.vendors.plan` is the vocabulary. Here each attribute name becomes the offset of the member in its Struct, and
a guard that fails returns its Reason; nothing is raised and nothing is allocated. Values are judged after decoding,
because a lax decoder lets "nan", "inf" and integers of any size through.
"""

from cpython.object cimport PyObject
from libc.math cimport isfinite
from libc.stdint cimport int64_t, uint8_t, uint16_t, uint32_t
from libc.string cimport memcmp, memcpy

from openbell.core.layout cimport (
    FIRST_OF_GROUP,
    HAS_A,
    HAS_B,
    HAS_C,
    HAS_D,
    KIND_LEVEL,
    KIND_TICKER,
    KIND_TRADE,
    LAST_OF_GROUP,
    Record,
)
from openbell.core.reasons cimport (
    IGNORED_LATE,
    IGNORED_TWICE,
    AMOUNT_NEGATIVE,
    AMOUNT_NOT_FINITE,
    AMOUNT_WRONG_TYPE,
    CONFLATED,
    DROPPED,
    PRICE_MISSING,
    PRICE_NOT_FINITE,
    PRICE_NOT_POSITIVE,
    PRICE_WRONG_TYPE,
    SEQUENCE_OUT_OF_RANGE,
    SEQUENCE_WRONG_TYPE,
    SIDE_QUEUE_FULL,
    SIDE_WRONG_TYPE,
    SIZE_NEGATIVE,
    SIZE_NOT_FINITE,
    SIZE_WRONG_TYPE,
    SYMBOL_EMPTY,
    SYMBOL_MISSING,
    SYMBOL_NOT_ASCII,
    SYMBOL_NOT_ASKED,
    SYMBOL_NUL,
    SYMBOL_TOO_LONG,
    SYMBOL_WRONG_TYPE,
    TABLE_FULL,
    TIME_OUT_OF_RANGE,
    TIME_WRONG_TYPE,
    TOO_LARGE,
    UNKNOWN_MESSAGE,
    WRONG_SHAPE,
)
from openbell.core.symbols cimport KEY_MAX, Key, make_key

import msgspec

from openbell.reasons import Reason
from openbell.vendors.plan import MARKER_WINDOW as PLAN_WINDOW
from openbell.vendors.plan import Ignore, Op, Route

cdef extern from *:
    """
    #ifndef _GNU_SOURCE
    #define _GNU_SOURCE
    #endif
    #include <string.h>
    #include <structmember.h>
    static Py_ssize_t ob_member_offset(PyObject *descriptor) {
        PyMemberDef *member;
        if (Py_TYPE(descriptor) != &PyMemberDescr_Type) return -1;
        member = ((PyMemberDescrObject *)descriptor)->d_member;
        return member->type == T_OBJECT_EX || member->type == T_OBJECT ? member->offset : -1;
    }
    #define ob_member(object, offset) (*(PyObject **)((char *)(object) + (offset)))
    """
    Py_ssize_t member_offset "ob_member_offset"(object descriptor)
    PyObject *member "ob_member"(PyObject *o, Py_ssize_t offset) noexcept
    const void *memmem(const void *haystack, size_t n, const void *needle, size_t m) noexcept nogil

cdef extern from "Python.h":
    PyObject *Py_None
    PyObject *Py_True
    PyObject *Py_False
    bint PyList_CheckExact(PyObject *o) noexcept
    Py_ssize_t PyList_GET_SIZE(PyObject *o) noexcept
    PyObject *PyList_GET_ITEM(PyObject *o, Py_ssize_t i) noexcept
    bint PyFloat_CheckExact(PyObject *o) noexcept
    double PyFloat_AS_DOUBLE(PyObject *o) noexcept
    bint PyLong_CheckExact(PyObject *o) noexcept
    double PyLong_AsDouble(PyObject *o) noexcept
    long long PyLong_AsLongLongAndOverflow(PyObject *o, int *overflow) noexcept
    bint PyUnicode_CheckExact(PyObject *o) noexcept
    bint PyUnicode_IS_COMPACT_ASCII(PyObject *o) noexcept
    const char *PyUnicode_DATA(PyObject *o) noexcept
    Py_ssize_t PyUnicode_GET_LENGTH(PyObject *o) noexcept
    const char *PyUnicode_AsUTF8AndSize(PyObject *o, Py_ssize_t *size) noexcept
    PyObject *PyErr_Occurred() noexcept
    void PyErr_Clear() noexcept

cdef enum:
    OP_SYMBOL = 1
    OP_PRICE = 2
    OP_SIZE = 3
    OP_AMOUNT = 4
    OP_SEQUENCE = 5
    OP_TIME = 6
    OP_SIDE_CODE = 7
    OP_SIDE_BUYER_MAKER = 8
    OP_EXPECT = 9
    OP_KEEP_IF = 10
    OP_BIDS = 11
    OP_ASKS = 12
    # Of a number: it is not there.
    ABSENT = -2

cdef dict _MIRROR = {
    "TOO_LARGE": TOO_LARGE, "UNKNOWN_MESSAGE": UNKNOWN_MESSAGE, "SYMBOL_MISSING": SYMBOL_MISSING,
    "SYMBOL_EMPTY": SYMBOL_EMPTY, "SYMBOL_TOO_LONG": SYMBOL_TOO_LONG, "SYMBOL_NUL": SYMBOL_NUL,
    "SYMBOL_NOT_ASCII": SYMBOL_NOT_ASCII, "SYMBOL_NOT_ASKED": SYMBOL_NOT_ASKED, "TABLE_FULL": TABLE_FULL,
    "PRICE_MISSING": PRICE_MISSING, "PRICE_WRONG_TYPE": PRICE_WRONG_TYPE, "PRICE_NOT_FINITE": PRICE_NOT_FINITE,
    "PRICE_NOT_POSITIVE": PRICE_NOT_POSITIVE, "SIZE_WRONG_TYPE": SIZE_WRONG_TYPE, "SIZE_NOT_FINITE": SIZE_NOT_FINITE,
    "SIZE_NEGATIVE": SIZE_NEGATIVE, "AMOUNT_WRONG_TYPE": AMOUNT_WRONG_TYPE, "AMOUNT_NOT_FINITE": AMOUNT_NOT_FINITE,
    "AMOUNT_NEGATIVE": AMOUNT_NEGATIVE, "TIME_WRONG_TYPE": TIME_WRONG_TYPE, "TIME_OUT_OF_RANGE": TIME_OUT_OF_RANGE,
    "SEQUENCE_WRONG_TYPE": SEQUENCE_WRONG_TYPE, "SEQUENCE_OUT_OF_RANGE": SEQUENCE_OUT_OF_RANGE,
    "DROPPED": DROPPED, "CONFLATED": CONFLATED, "WRONG_SHAPE": WRONG_SHAPE, "IGNORED_LATE": IGNORED_LATE,
    "IGNORED_TWICE": IGNORED_TWICE,
    "SIDE_WRONG_TYPE": SIDE_WRONG_TYPE, "SIDE_QUEUE_FULL": SIDE_QUEUE_FULL, "SYMBOL_WRONG_TYPE": SYMBOL_WRONG_TYPE,
}
cdef dict _OPS = {
    "SYMBOL": OP_SYMBOL, "PRICE": OP_PRICE, "SIZE": OP_SIZE, "AMOUNT": OP_AMOUNT, "SEQUENCE": OP_SEQUENCE,
    "TIME": OP_TIME, "SIDE_CODE": OP_SIDE_CODE, "SIDE_BUYER_MAKER": OP_SIDE_BUYER_MAKER, "EXPECT": OP_EXPECT,
    "KEEP_IF": OP_KEEP_IF, "BIDS": OP_BIDS, "ASKS": OP_ASKS,
}
# The C names above are copies; a build whose copies differ from the Python side must not run.
if any(Reason[name] != value for name, value in _MIRROR.items()) or {op.name: int(op) for op in Op} != _OPS:
    raise ImportError("openbell.core.plan was compiled against other reasons or ops: reinstall openbell")
if PLAN_WINDOW != MARKER_WINDOW:
    raise ImportError("openbell.core.plan was compiled against another marker window: reinstall openbell")

cdef dict _SCALES = {"auto": 0, "ns": 1, "us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}

cdef extern from *:
    """
    #define OB_EARLIEST_S 946684800LL
    #define OB_LATEST_S 4102444800LL
    """
    # 2000-01-01 and 2100-01-01, in seconds since the epoch.
    const int64_t EARLIEST_S "OB_EARLIEST_S"
    const int64_t LATEST_S "OB_LATEST_S"



def _offset_of(struct_type, name, where):
    """Return the offset of attribute `name` in instances of `struct_type`."""
    descriptor = getattr(struct_type, name, None)
    offset = member_offset(descriptor)
    if offset < 0 or name not in struct_type.__struct_fields__:
        raise ValueError(f"{where}: {struct_type.__name__} has no field {name!r}")
    return offset


def _item_of(struct_type, name):
    """Return the one Struct that the list in attribute `name` may hold, or None if it may hold anything else: members
    would be looked for where it has none."""
    # Not at the top: only some receivers need it, and all of them start faster without.
    from msgspec import inspect

    def bare(kind):
        while isinstance(kind, inspect.Metadata):
            kind = kind.type
        return kind

    kind = bare(next(known.type for known in inspect.type_info(struct_type).fields if known.name == name))
    items = [
        bare(each.item_type)
        for each in (kind.types if isinstance(kind, inspect.UnionType) else (kind,))
        if isinstance(each, inspect.ListType)
    ]
    item = items[0] if items else None
    return item.cls if isinstance(item, inspect.StructType) else None


cdef class Plan:
    """Compile a vendor's routes.

    Parameters
    ----------
    declaration : tuple of Route or Ignore
        At most 16, tried in this order.
    prefix : bytes
        Put before every symbol that arrives (a feed of several sources tells their symbols apart by it).

    Raises
    ------
    ValueError
        A route names a field that its Struct has not, has no SYMBOL, or is otherwise impossible.
    """

    def __init__(self, declaration, prefix=b""):
        if not 1 <= len(declaration) <= ROUTES_MAX:
            raise ValueError(f"a plan has 1 to {ROUTES_MAX} entries, not {len(declaration)}")
        if len(prefix) >= KEY_MAX:
            raise ValueError(f"a prefix of {len(prefix)} bytes leaves no room for a symbol")
        self.declaration = tuple(declaration)
        self._held = []
        self.prefix_length = len(prefix)
        memcpy(self.prefix, <const char *>prefix, self.prefix_length)
        self.count = len(declaration)
        self.streams = 0
        for i, entry in enumerate(self.declaration):
            self._compile(&self.routes[i], entry)
        # An empty marker is always there: what comes behind it is never reached, nor is it by a hint.
        self.hinted = next((i for i, entry in enumerate(self.declaration) if not entry.marker), self.count)

    cdef _compile(self, CompiledRoute *to, entry):
        cdef bytes marker = entry.marker
        if len(marker) > MARKER_WINDOW:
            raise ValueError(f"a marker has at most {MARKER_WINDOW} bytes, not {len(marker)}")
        self._held.append(marker)
        to.marker = marker
        to.marker_length = len(marker)
        to.hint = 0
        if isinstance(entry, Ignore):
            to.stream = -1
            to.ignore = int(entry.reason)
            return
        if not isinstance(entry, Route):
            raise ValueError(f"a plan holds Route and Ignore, not {type(entry).__name__}")
        to.ignore = -1
        to.stream = -1
        to.kind = int(entry.kind)
        to.many = entry.many
        where = f"route {entry.name!r}"
        to.path_offset = _offset_of(entry.frame, entry.path, where) if entry.path else -1
        if not entry.path and entry.frame != (list[entry.event] if entry.many else entry.event):
            raise ValueError(f"{where}: without a path, the frame itself is the event, or a list of events")
        to.expect_offset = -1
        if entry.frame_expect is not None:
            name, value = entry.frame_expect
            to.expect_offset = _offset_of(entry.frame, name, where)
            self._expect(&to.expect, value, where)
        decode = msgspec.json.Decoder(entry.frame, strict=False).decode
        self._held.append((decode, entry.event))
        to.decode = <PyObject *>decode
        to.event_type = <PyObject *>entry.event
        to.symbol_offset = -1
        to.side_offset[0] = to.side_offset[1] = -1
        to.field_count = 0
        for field in entry.fields:
            op = int(field.op)
            offset = _offset_of(entry.event, field.source, where)
            if op == OP_SYMBOL:
                if to.symbol_offset >= 0:
                    raise ValueError(f"{where}: two SYMBOL fields")
                to.symbol_offset = offset
                continue
            if op in (OP_BIDS, OP_ASKS):
                self._book_side(to, entry, field, op - OP_BIDS, offset, where)
                continue
            if to.field_count == FIELDS_MAX:
                raise ValueError(f"{where}: more than {FIELDS_MAX} fields")
            self._field(&to.fields[to.field_count], field, op, offset, where)
            to.field_count += 1
        if to.symbol_offset < 0:
            raise ValueError(f"{where}: no SYMBOL field")
        if to.kind in (KIND_TRADE, KIND_TICKER) and not any(int(f.op) == OP_PRICE and f.target == "a" for f in entry.fields):
            # The worker takes its price as present.
            raise ValueError(f"{where}: a {entry.kind.name.lower()} needs a PRICE with target a")
        if entry.consecutive:
            if not any(int(f.op) == OP_SEQUENCE for f in entry.fields):
                raise ValueError(f"{where}: what is numbered without a break needs a SEQUENCE field")
            to.stream = self.streams
            self.streams += 1
        if entry.many and entry.path and _item_of(entry.frame, entry.path) is not entry.event:
            raise ValueError(
                f"{where}: {entry.path} must be declared as list[{entry.event.__name__}], and nothing wider"
            )
        if to.kind == KIND_LEVEL and to.side_offset[0] < 0 and to.side_offset[1] < 0:
            raise ValueError(f"{where}: an order book needs BIDS, ASKS or both")

    cdef _book_side(self, CompiledRoute *to, entry, field, int side, Py_ssize_t offset, where):
        if to.kind != KIND_LEVEL:
            raise ValueError(f"{where}: BIDS and ASKS are for order books, Kind.LEVEL")
        if to.side_offset[side] >= 0:
            raise ValueError(f"{where}: two fields for one side of the book")
        level = _item_of(entry.event, field.source)
        if level is None:
            raise ValueError(f"{where}: {field.source} must be declared as a list of one Struct, and nothing wider")
        price, size = field.level
        to.side_offset[side] = offset
        to.level_price[side] = _offset_of(level, price, where)
        to.level_size[side] = _offset_of(level, size, where) if size else -1

    cdef _field(self, CompiledField *to, field, int op, Py_ssize_t offset, where):
        to.op = op
        to.offset = offset
        to.reason = int(field.reason)
        if op in (OP_PRICE, OP_SIZE, OP_AMOUNT):
            if field.target not in ("a", "b", "c", "d"):
                raise ValueError(f"{where}: {field.source} needs a target of a, b, c or d, not {field.target!r}")
            to.target = ord(field.target) - ord("a")
            to.flag = 1 << to.target
        elif op == OP_TIME:
            if field.unit not in _SCALES:
                raise ValueError(f"{where}: {field.source} has no such time unit: {field.unit!r}")
            to.scale = _SCALES[field.unit]
        elif op in (OP_EXPECT, OP_KEEP_IF):
            self._expect(to, field.expect, where)

    cdef _expect(self, CompiledField *to, value, where):
        cdef bytes text
        if isinstance(value, str):
            text = value.encode()
            self._held.append(text)
            to.expect_text = True
            to.text = text
            to.text_length = len(text)
        elif isinstance(value, int):
            to.expect_text = False
            to.expect_int = value
        else:
            raise ValueError(f"{where}: expect must be an int or a str, not {value!r}")

    cdef CompiledRoute *match(self, const char *data, Py_ssize_t size) noexcept:
        """The first entry whose marker is near the beginning of the frame, or NULL."""
        cdef CompiledRoute *route
        cdef const char *found
        cdef size_t window
        cdef int i
        for i in range(self.hinted):
            route = &self.routes[i]
            if (route.hint + route.marker_length <= size
                    and memcmp(data + route.hint, route.marker, route.marker_length) == 0):
                return route
        window = size if size < MARKER_WINDOW else MARKER_WINDOW
        for i in range(self.count):
            route = &self.routes[i]
            found = <const char *>memmem(data, window, route.marker, route.marker_length)
            if found is not NULL:
                route.hint = found - data
                return route
        return NULL

    cdef int frame_differs(self, const CompiledRoute *route, PyObject *frame) noexcept:
        return route.expect_offset >= 0 and not _equal(&route.expect, member(frame, route.expect_offset))

    cdef int key_of(self, const CompiledRoute *route, PyObject *event, Key *key) noexcept:
        """Make the table key of an event's symbol. Returns -1 or the Reason for which it can be none."""
        cdef PyObject *text = member(event, route.symbol_offset)
        cdef const char *data
        cdef Py_ssize_t length
        cdef char joined[32]
        if text is NULL or text is Py_None:
            return SYMBOL_MISSING
        if not PyUnicode_CheckExact(text):
            return SYMBOL_WRONG_TYPE
        if PyUnicode_IS_COMPACT_ASCII(text):
            data = PyUnicode_DATA(text)
            length = PyUnicode_GET_LENGTH(text)
        else:
            data = PyUnicode_AsUTF8AndSize(text, &length)
            if data is NULL:
                PyErr_Clear()
                return SYMBOL_NOT_ASCII
        if length == 0:
            return SYMBOL_EMPTY
        if length + self.prefix_length > KEY_MAX:
            return SYMBOL_TOO_LONG
        if self.prefix_length:
            memcpy(joined, self.prefix, self.prefix_length)
            memcpy(joined + self.prefix_length, data, length)
            data = joined
            length += self.prefix_length
        make_key(key, data, length)
        return -1

    cdef int convert(self, const CompiledRoute *route, PyObject *event, Record *record) noexcept:
        """Fill kind, side, flags, time, sequence and values of `record`. Returns -1 or the Reason of the first guard
        that failed; the record is then in no state to be published."""
        cdef const CompiledField *field
        cdef PyObject *value
        cdef double number
        cdef long long whole
        cdef int overflow, i
        cdef uint16_t flags = 0
        cdef uint8_t side = 0
        cdef int64_t exchange_ns = 0
        cdef int64_t sequence = 0
        for i in range(4):
            # What is absent means nothing, but the same nothing every time.
            record.value[i].i = 0
        for i in range(route.field_count):
            field = &route.fields[i]
            value = member(event, field.offset)
            if field.op <= OP_AMOUNT:
                if value is not NULL and PyFloat_CheckExact(value):
                    number = PyFloat_AS_DOUBLE(value)
                elif value is NULL or value is Py_None:
                    if field.op == OP_PRICE and field.target == 0 and (route.kind == KIND_TRADE or route.kind == KIND_TICKER):
                        return PRICE_MISSING
                    continue
                elif PyLong_CheckExact(value):
                    number = PyLong_AsDouble(value)
                    if number == -1.0 and PyErr_Occurred() is not NULL:
                        # Beyond any double.
                        PyErr_Clear()
                        number = INFINITY_
                else:
                    return (PRICE_WRONG_TYPE if field.op == OP_PRICE
                            else SIZE_WRONG_TYPE if field.op == OP_SIZE else AMOUNT_WRONG_TYPE)
                if not (number > 0.0 and number < INFINITY_):
                    if not isfinite(number):
                        return (PRICE_NOT_FINITE if field.op == OP_PRICE
                                else SIZE_NOT_FINITE if field.op == OP_SIZE else AMOUNT_NOT_FINITE)
                    if field.op == OP_PRICE:
                        if number == 0.0 and field.target == 1 and route.kind == KIND_TICKER:
                            # No reference price, as of a symbol that is new: the price beside it is none the worse.
                            continue
                        return PRICE_NOT_POSITIVE
                    if number < 0.0:
                        return SIZE_NEGATIVE if field.op == OP_SIZE else AMOUNT_NEGATIVE
                record.value[field.target].f = number
                flags |= field.flag
            elif field.op == OP_SEQUENCE:
                if value is NULL or value is Py_None:
                    continue
                if not PyLong_CheckExact(value):
                    return SEQUENCE_WRONG_TYPE
                sequence = PyLong_AsLongLongAndOverflow(value, &overflow)
                if overflow:
                    return SEQUENCE_OUT_OF_RANGE
            elif field.op == OP_TIME:
                if value is NULL or value is Py_None:
                    continue
                if not PyLong_CheckExact(value):
                    return TIME_WRONG_TYPE
                whole = PyLong_AsLongLongAndOverflow(value, &overflow)
                if overflow:
                    return TIME_OUT_OF_RANGE
                if whole == 0:
                    continue
                exchange_ns = _to_ns(whole, field.scale)
                if exchange_ns < 0:
                    return TIME_OUT_OF_RANGE
            elif field.op == OP_SIDE_CODE:
                if value is NULL or value is Py_None:
                    continue
                if not PyLong_CheckExact(value):
                    return SIDE_WRONG_TYPE
                whole = PyLong_AsLongLongAndOverflow(value, &overflow)
                if overflow or whole < 0 or whole > 2:
                    return SIDE_WRONG_TYPE
                side = <uint8_t>whole
            elif field.op == OP_SIDE_BUYER_MAKER:
                if value is Py_True:
                    side = 2
                elif value is Py_False:
                    side = 1
                elif value is not NULL and value is not Py_None:
                    return SIDE_WRONG_TYPE
            elif field.op == OP_EXPECT:
                if not _equal(field, value):
                    return UNKNOWN_MESSAGE
            elif value is not NULL and value is not Py_None and not _equal(field, value):
                return field.reason
        record.kind = <uint8_t>route.kind
        record.side = side
        record.flags = flags
        record.exchange_ns = exchange_ns
        record.sequence = sequence
        return -1


    cdef int64_t number_of(self, const CompiledRoute *route, PyObject *event) noexcept:
        """The vendor's number of an event that need not be sound otherwise; 0: there is none to be read."""
        cdef const CompiledField *field
        cdef PyObject *value
        cdef int64_t number
        cdef int overflow, i
        for i in range(route.field_count):
            field = &route.fields[i]
            if field.op == OP_SEQUENCE:
                value = member(event, field.offset)
                if value is NULL or not PyLong_CheckExact(value):
                    return 0
                number = PyLong_AsLongLongAndOverflow(value, &overflow)
                return 0 if overflow else number
        return 0

    cdef int convert_book(self, const CompiledRoute *route, PyObject *event, Record *records, int most, int *n) noexcept:
        """Fill a group of LEVEL records, `most` at most (and there is room for them); `n`: how many they are.

        Returns -1 or the Reason of the first guard that failed.
        """
        cdef PyObject *sides[2]
        cdef PyObject *level
        cdef Py_ssize_t lengths[2]
        cdef Py_ssize_t offset
        cdef int side, i, reason, known = 0
        cdef double value
        n[0] = 1
        for side in range(2):
            sides[side] = NULL
            lengths[side] = 0
            if route.side_offset[side] >= 0:
                sides[side] = member(event, route.side_offset[side])
                if sides[side] is not NULL and sides[side] is not Py_None:
                    if not PyList_CheckExact(sides[side]):
                        return WRONG_SHAPE
                    known += 1
                    lengths[side] = min(PyList_GET_SIZE(sides[side]), <Py_ssize_t>most)
                    n[0] = max(n[0], <int>lengths[side])
        reason = self.convert(route, event, &records[0])
        if reason != -1:
            return reason
        if not known:
            # Something else than a book: taken for one it would empty both sides.
            return WRONG_SHAPE
        records[0].flags = 0
        for i in range(1, n[0]):
            records[i] = records[0]
        for i in range(n[0]):
            records[i].side = <uint8_t>(i + 1)
            for side in range(2):
                if i >= lengths[side]:
                    continue
                level = PyList_GET_ITEM(sides[side], i)
                reason = _number(member(level, route.level_price[side]), OP_PRICE, &value)
                if reason != -1:
                    return PRICE_MISSING if reason == ABSENT else reason
                records[i].value[2 * side].f = value
                records[i].flags |= HAS_C if side else HAS_A
                offset = route.level_size[side]
                if offset < 0:
                    continue
                reason = _number(member(level, offset), OP_SIZE, &value)
                if reason == -1:
                    records[i].value[2 * side + 1].f = value
                    records[i].flags |= HAS_D if side else HAS_B
                elif reason != ABSENT:
                    return reason
        records[0].flags |= FIRST_OF_GROUP
        records[n[0] - 1].flags |= LAST_OF_GROUP
        return -1


cdef int _number(PyObject *value, int op, double *number) noexcept:
    """Judge a PRICE or a SIZE. Returns -1, ABSENT, or the Reason."""
    if value is NULL or value is Py_None:
        return ABSENT
    if PyFloat_CheckExact(value):
        number[0] = PyFloat_AS_DOUBLE(value)
    elif PyLong_CheckExact(value):
        number[0] = PyLong_AsDouble(value)
        if number[0] == -1.0 and PyErr_Occurred() is not NULL:
            PyErr_Clear()
            number[0] = INFINITY_
    else:
        return PRICE_WRONG_TYPE if op == OP_PRICE else SIZE_WRONG_TYPE
    if not isfinite(number[0]):
        return PRICE_NOT_FINITE if op == OP_PRICE else SIZE_NOT_FINITE
    if op == OP_PRICE and number[0] <= 0.0:
        return PRICE_NOT_POSITIVE
    if number[0] < 0.0:
        return SIZE_NEGATIVE
    return -1


cdef extern from "math.h":
    double INFINITY_ "INFINITY"


cdef inline int64_t _to_ns(int64_t value, int64_t scale) noexcept:
    """A vendor's time in ns, or -1 if it is not between 2000 and 2100. `scale` 0: by magnitude."""
    # Bounds per unit instead of one division: a 64-bit division costs as much as the rest of a record.
    if scale == 0:
        if value < 100_000_000_000LL:
            scale = 1_000_000_000LL
        elif value < 100_000_000_000_000LL:
            scale = 1_000_000LL
        elif value < 100_000_000_000_000_000LL:
            scale = 1_000LL
        else:
            scale = 1
    if scale == 1_000_000LL:
        return value * 1_000_000LL if EARLIEST_S * 1_000LL <= value < LATEST_S * 1_000LL else -1
    if scale == 1_000_000_000LL:
        return value * 1_000_000_000LL if EARLIEST_S <= value < LATEST_S else -1
    if scale == 1_000LL:
        return value * 1_000LL if EARLIEST_S * 1_000_000LL <= value < LATEST_S * 1_000_000LL else -1
    return value if EARLIEST_S * 1_000_000_000LL <= value < LATEST_S * 1_000_000_000LL else -1


cdef inline bint _equal(const CompiledField *field, PyObject *value) noexcept:
    cdef int overflow
    if value is NULL:
        return False
    if field.expect_text:
        return (PyUnicode_CheckExact(value) and PyUnicode_IS_COMPACT_ASCII(value)
                and PyUnicode_GET_LENGTH(value) == field.text_length
                and memcmp(PyUnicode_DATA(value), field.text, field.text_length) == 0)
    return (PyLong_CheckExact(value)
            and PyLong_AsLongLongAndOverflow(value, &overflow) == field.expect_int and not overflow)

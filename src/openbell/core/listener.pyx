# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""From a WebSocket frame to records in rings, without going back to Python for a tick.

One listener per connection, in the receiver's only thread. The payload is decoded inside the callback, because the
receive buffer is not ours after it. What the plan does not claim, or cannot decode, goes to the `fallback` as bytes.
"""

from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize, PyBytes_GET_SIZE
from cpython.object cimport PyObject
from libc.stdint cimport int64_t, uint8_t, uint32_t, uint64_t
from libc.string cimport memset

from picows.picows cimport WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from openbell.core.atomics cimport load_relaxed, monotonic_ns
from openbell.core.buffers cimport Borrowed, borrow, borrow_writable
from openbell.core.holes cimport Holes
from openbell.core.layout cimport (
    HAS_A,
    HAS_B,
    HAS_C,
    HAS_D,
    KIND_LEVEL,
    KIND_REPAIR,
    KIND_STATUS,
    REPAIRED_FLAG,
    ROW_NONE,
    Record,
)
from openbell.core.outlet cimport (
    BLOCK,
    C_BYTES,
    C_CONTROL,
    C_EVENTS,
    C_FRAMES,
    C_LOST,
    C_MAX_FRAMES,
    C_READS,
    C_RECORDS,
    C_REASONS,
    COUNTER_BYTES,
    DROP,
    RINGS_MAX,
    Outlet,
)
from openbell.core.overlap cimport Overlap
from openbell.core.plan cimport CompiledRoute, Plan, MARKER_WINDOW
from openbell.core.reasons cimport (
    DROPPED,
    IGNORED_LATE,
    IGNORED_TWICE,
    PUBLISHED,
    SIDE_QUEUE_FULL,
    SYMBOL_NOT_ASCII,
    SYMBOL_NOT_ASKED,
    SYMBOL_NUL,
    TABLE_FULL,
    TOO_LARGE,
)
from openbell.core.snapshot cimport LEVELS_MAX
from openbell.core.symbols cimport KEY_MAX, Key, Slot, SymbolTable, make_key

import msgspec

from openbell.core.outlet import OVERFLOWS
from openbell.errors import SymbolTableFull

cdef extern from *:
    """
    #define ob_slot(object, offset) (*(PyObject **)((char *)(object) + (offset)))
    """
    PyObject *member "ob_slot"(PyObject *o, Py_ssize_t offset) noexcept

cdef extern from "Python.h":
    PyObject *PyObject_CallOneArg(PyObject *function, PyObject *argument) noexcept
    PyObject *PyMemoryView_FromMemory(char *data, Py_ssize_t size, int flags) noexcept
    bint PyList_CheckExact(PyObject *o) noexcept
    Py_ssize_t PyList_GET_SIZE(PyObject *o) noexcept
    PyObject *PyList_GET_ITEM(PyObject *o, Py_ssize_t i) noexcept
    PyObject *Py_TYPE_OF "(PyObject *)Py_TYPE"(PyObject *o) noexcept
    int PyErr_ExceptionMatches(PyObject *exception) noexcept
    void PyErr_Clear() noexcept
    void Py_DECREF(PyObject *o) noexcept
    int PyBUF_READ

cdef enum:
    WHY_NO_ROUTE = 0
    WHY_NOT_DECODED = 1
    WHY_FRAME_DIFFERS = 2
    # Events of a list whose symbols are hashed, and their table lines fetched, before the first is looked up.
    AHEAD = 16
    # Nobody cuts a message into so many; each takes as long as a message of its own.
    FRAGMENTS_MAX = 1 << 16
    GAP_VENUE_HOLE = 7
    # Above this a copy of the payload costs more than a memoryview object.
    COPY_MAX = 1024

# What a decoder may raise for bad input. Anything else (MemoryError) is not the vendor's doing and is passed on.
cdef tuple _BAD_INPUT = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError)


cdef class FrameListener(WSListener):
    """The listener of one connection.

    Parameters
    ----------
    plan : Plan or sequence of Route and Ignore
        The vendor's declaration.
    symbols : SymbolTable
        Writable if `open_symbols`.
    rings : list of RingWriter
        One a shard, recovered.
    counters : writable buffer
        The receiver's counter block (128 words).
    clock_offset : buffer
        Word holding epoch minus CLOCK_MONOTONIC, in ns.
    fallback : callable
        ``fallback(listener, payload, why)`` gets what the plan does not claim, as bytes.
    on_connected, on_disconnected : callable
        ``on_connected(transport)`` and ``on_disconnected(code, reason)``; code 1006 without a CLOSE frame.
    on_pressure : callable
        Called when a ring is full and something begins to wait for room: call `drain` until it returns 0, and if
        `holds_reading`, pause reading for that long.
    on_pong : callable, optional
        Called for each PONG frame.
    open_symbols : bool
        Give a symbol that was not asked for a row, instead of counting and dropping it.
    max_message_bytes : int
        A fragmented message longer than this is counted, and ends the connection (1009).
    publish_every : int
        Publish at the latest after so many frames of one read.
    side_queue_records : int
        Bound of the side queue; what comes beyond it is lost, counted, and told by a GAP record.
    overflow : {"block", "conflate", "drop"}
        What happens when a ring is full. ``block``: wait 2 ms, then fill the side queue while reading pauses.
        ``conflate``: keep the newest of every symbol, and sums of its trades, until there is room. ``drop``: count, and
        tell by a GAP record.
    book_levels : int
        Levels of an order book that are published, 1 at least.
    holes : Holes, optional
        Follows what the vendor numbers without a break, over all listeners of a connection; a number left out is told
        by a GAP record of its row, before the event that shows it.
    """

    def __init__(self, plan, SymbolTable symbols not None, list rings not None, counters, clock_offset, *, fallback,
                 on_connected, on_disconnected, on_pressure, on_pong=None, bint open_symbols=False, max_message_bytes=8 << 20,
                 int publish_every=256, side_queue_records=1 << 20, overflow="block", int book_levels=0,
                 Holes holes=None):
        cdef Borrowed counter_block = borrow_writable(counters, COUNTER_BYTES)
        cdef Borrowed offset_word = borrow(clock_offset, 8)
        if not 1 <= len(rings) <= RINGS_MAX or len(rings) != symbols.shards:
            raise ValueError(f"{len(rings)} rings for a symbol table of {symbols.shards} shards")
        self.plan = plan if isinstance(plan, Plan) else Plan(tuple(plan))
        self.symbols = symbols
        if holes is not None and (holes.streams < self.plan.streams or holes.rows < symbols.rows):
            raise ValueError(
                f"holes of {holes.streams} streams and {holes.rows} rows are not for a plan of {self.plan.streams} and a "
                f"table of {symbols.rows}"
            )
        self.holes = holes if self.plan.streams else None
        self.checks = self.holes is not None
        if not 0 <= book_levels <= LEVELS_MAX:
            raise ValueError(f"book_levels must be from 0 to {LEVELS_MAX}, not {book_levels}")
        self.levels = max(1, book_levels)
        self.ring_count = len(rings)
        self.outlet = Outlet(rings, counters, on_pressure, overflow, self.levels, side_queue_records, symbols.rows)
        self._lent = (counter_block, offset_word)
        self.counters = <uint64_t *>counter_block.data
        self.clock_offset = <const uint64_t *>offset_word.data
        self._fallback = fallback
        self._on_connected = on_connected
        self._on_disconnected = on_disconnected
        self._on_pong = on_pong
        self._bad_input = _BAD_INPUT
        self.open_symbols = open_symbols
        self.max_message_bytes = max_message_bytes
        self.publish_every = publish_every
        self._fragments = bytearray()
        self._parked = []
        self.close_code = 1006
        self.close_reason = ""
        self._stamp()

    # ---- the connection ----

    cpdef on_ws_connected(self, WSTransport transport):
        self._on_connected(transport)

    cpdef on_ws_disconnected(self, WSTransport transport):
        self._end_read()
        self._on_disconnected(self.close_code, self.close_reason)

    cpdef on_ws_frame(self, WSTransport transport, WSFrame frame):
        if not self.in_read:
            # Once a read: a stamp per frame would hide the time that a frame waits behind others of its read.
            self.in_read = True
            self.frames_this_read = 0
            self.records_at_read = self.counters[C_RECORDS]
            self._stamp()
            self.read_ns = self.receive_ns - <int64_t>load_relaxed(self.clock_offset)
        self.frames_this_read += 1
        self.counters[C_FRAMES] += 1
        self.counters[C_BYTES] += <uint64_t>frame.payload_size
        if (frame.msg_type == WSMsgType.TEXT or frame.msg_type == WSMsgType.BINARY) and frame.fin:
            self._message(frame.payload_ptr, frame.payload_size)
        else:
            self._unusual(transport, frame)
        self.frames_unpublished += 1
        if frame.last_in_buffer:
            self._end_read()
        elif self.frames_unpublished >= self.publish_every:
            self._publish()

    cdef _unusual(self, WSTransport transport, WSFrame frame):
        """Fragments, CLOSE, and control frames that reach us."""
        if frame.msg_type == WSMsgType.CLOSE:
            self.close_code = frame.get_close_code()
            try:
                self.close_reason = frame.get_close_reason() or ""
            except UnicodeDecodeError:
                self.close_reason = ""
            # An empty CLOSE has no code, and 0 must not be sent as one.
            transport.send_close(frame.get_close_code() or WSCloseCode.OK)
            transport.disconnect()
            return
        if frame.msg_type not in (WSMsgType.TEXT, WSMsgType.BINARY, WSMsgType.CONTINUATION):
            self.counters[C_CONTROL] += 1
            if frame.msg_type == WSMsgType.PONG and self._on_pong is not None:
                self._on_pong()
            return
        if frame.msg_type != WSMsgType.CONTINUATION:
            self._fragments = bytearray()
            self.fragments = 0
            self.skipping = False
        if not self.skipping:
            self.fragments += 1
            if len(self._fragments) + frame.payload_size > self.max_message_bytes or self.fragments > FRAGMENTS_MAX:
                self._too_large(transport)
            else:
                self._fragments += frame.get_payload_as_bytes()
        if frame.fin:
            if not self.skipping:
                whole = bytes(self._fragments)
                self._message(PyBytes_AS_STRING(whole), PyBytes_GET_SIZE(whole))
            self._fragments = bytearray()
            self.skipping = False

    cdef _too_large(self, WSTransport transport):
        """As picows does with a frame that is too large: what is still to come of it would only take our time."""
        self.skipping = True
        self._fragments = bytearray()
        self._count(TOO_LARGE, 1)
        self.counters[C_EVENTS] += 1
        self.messages_here += 1
        self.close_code = WSCloseCode.MESSAGE_TOO_BIG
        self.close_reason = "a message in fragments was larger than max_message_bytes"
        transport.send_close(WSCloseCode.MESSAGE_TOO_BIG)
        transport.disconnect()

    # ---- the hot path ----

    cdef inline void _stamp(self) noexcept nogil:
        self.receive_ns = self.outlet.receive_ns = monotonic_ns() + <int64_t>load_relaxed(self.clock_offset)

    cdef int _message(self, const char *data, Py_ssize_t size) except -1:
        """Decode one message and publish its events."""
        cdef CompiledRoute *route = self.plan.match(data, size)
        self.messages_here += 1
        if route is NULL:
            return self._other(data, size, WHY_NO_ROUTE)
        if route.ignore >= 0:
            self.counters[C_EVENTS] += 1
            self._count(route.ignore, 1)
            return 0
        if self.parking:
            self._parked.append((self.receive_ns, PyBytes_FromStringAndSize(data, size)))
            self.parked_bytes += size
            return 0
        return self._routed(route, data, size)

    cdef int _routed(self, const CompiledRoute *route, const char *data, Py_ssize_t size) except -1:
        """Decode a message that `route` claims, and publish its events."""
        cdef PyObject *frame
        cdef PyObject *events
        cdef object owner
        cdef Py_ssize_t i, n
        frame = self._decode(route, data, size)
        if frame is NULL:
            if not PyErr_ExceptionMatches(<PyObject *>self._bad_input):
                return -1
            PyErr_Clear()
            return self._other(data, size, WHY_NOT_DECODED)
        owner = <object>frame
        Py_DECREF(frame)
        if self.plan.frame_differs(route, frame):
            return self._other(data, size, WHY_FRAME_DIFFERS)
        events = frame if route.path_offset < 0 else member(frame, route.path_offset)
        if not route.many:
            if Py_TYPE_OF(events) is not route.event_type:
                # An optional object that is absent: not a message of this route after all.
                return self._other(data, size, WHY_FRAME_DIFFERS)
            self._event(route, events)
        elif PyList_CheckExact(events):
            n = PyList_GET_SIZE(events)
            i = 0
            while i < n:
                self._block(route, events, i, min(n - i, <Py_ssize_t>AHEAD))
                i += AHEAD
        else:
            return self._other(data, size, WHY_FRAME_DIFFERS)
        return 0

    cdef inline PyObject *_decode(self, const CompiledRoute *route, const char *data, Py_ssize_t size) noexcept:
        """The decoded frame (a new reference) or NULL with the exception set. No Struct keeps a view of the payload."""
        cdef PyObject *payload
        cdef PyObject *frame
        cdef bytes copy
        if size <= COPY_MAX:
            copy = PyBytes_FromStringAndSize(data, size)
            return PyObject_CallOneArg(route.decode, <PyObject *>copy)
        payload = PyMemoryView_FromMemory(<char *>data, size, PyBUF_READ)
        if payload is NULL:
            return NULL
        frame = PyObject_CallOneArg(route.decode, payload)
        Py_DECREF(payload)
        return frame

    cdef int _block(self, const CompiledRoute *route, PyObject *events, Py_ssize_t first, Py_ssize_t n) except -2:
        """Publish up to AHEAD events of a list: all keys first, so that the table's lines are here when looked at."""
        cdef Key keys[AHEAD]
        cdef int reasons[AHEAD]
        cdef Py_ssize_t i
        for i in range(n):
            reasons[i] = self.plan.key_of(route, PyList_GET_ITEM(events, first + i), &keys[i])
            if reasons[i] == PUBLISHED:
                self.symbols.prefetch(&keys[i])
        for i in range(n):
            self._keyed(route, PyList_GET_ITEM(events, first + i), &keys[i], reasons[i])
        return 0

    cdef int _event(self, const CompiledRoute *route, PyObject *event) except -2:
        """Publish one event. Returns PUBLISHED or the Reason it was counted under."""
        cdef Key key
        cdef Record record
        cdef Record *place
        cdef const Slot *slot
        cdef int refused
        cdef int reason = self.plan.key_of(route, event, &key)
        cdef bint has_key = reason == PUBLISHED
        if reason == PUBLISHED and route.kind == KIND_LEVEL:
            return self._book(route, event, &key)
        if reason == PUBLISHED:
            # The table's line is on its way while the values are converted: on a cold cache it costs as much as they.
            self.symbols.prefetch(&key)
            refused = self.plan.convert(route, event, &record)
            slot = self.symbols.find(&key)
            if slot is NULL:
                reason = self._not_asked(&key, refused, &slot)
            elif refused == PUBLISHED and slot.muted:
                reason = IGNORED_LATE
            else:
                reason = refused
            if reason == PUBLISHED and self.checks:
                reason = self._check(route, slot, record.sequence)
            if reason == PUBLISHED:
                place = self.outlet.slot(slot.shard)
                if place is NULL:
                    self.outlet.dropped[slot.shard] += self.outlet.overflow == DROP
                    reason = self._no_room()
                else:
                    record.row = slot.row
                    record.receive_ns = self.receive_ns
                    place[0] = record
                    self.counters[C_EVENTS] += 1
                    self.counters[C_RECORDS] += 1
                    self.outlet.commit(slot.shard)
                    return PUBLISHED
        if has_key and self.checks:
            self._pass_over(route, event, &key, reason)
        return self._refuse(reason)

    cdef int _keyed(self, const CompiledRoute *route, PyObject *event, const Key *key, int reason) except -2:
        """Publish an event whose key is made, unless `reason` says that it has none."""
        cdef const Slot *slot
        cdef Record *record
        cdef Record tried
        cdef bint has_key = reason == PUBLISHED
        if reason == PUBLISHED and route.kind == KIND_LEVEL:
            return self._book(route, event, key)
        if reason == PUBLISHED:
            slot = self.symbols.find(key)
            if slot is NULL:
                reason = self._not_asked(key, self.plan.convert(route, event, &tried), &slot)
            elif slot.muted:
                reason = self.plan.convert(route, event, &tried)
                if reason == PUBLISHED:
                    reason = IGNORED_LATE
        if reason == PUBLISHED:
            record = self.outlet.slot(slot.shard)
            if record is NULL:
                # What is not sound would not have been published anyway.
                reason = self.plan.convert(route, event, &tried)
                if reason == PUBLISHED:
                    self.outlet.dropped[slot.shard] += self.outlet.overflow == DROP
                    reason = self._no_room()
            else:
                reason = self.plan.convert(route, event, record)
                if reason == PUBLISHED and self.checks:
                    tried = record[0]
                    reason = self._check(route, slot, tried.sequence)
                    if reason == PUBLISHED:
                        # Where it was, there may be a GAP by now.
                        record = self.outlet.slot(slot.shard)
                        if record is NULL:
                            self.outlet.dropped[slot.shard] += self.outlet.overflow == DROP
                            reason = self._no_room()
                        else:
                            record[0] = tried
                if reason == PUBLISHED:
                    record.row = slot.row
                    record.receive_ns = self.receive_ns
                    self.counters[C_EVENTS] += 1
                    self.counters[C_RECORDS] += 1
                    self.outlet.commit(slot.shard)
                    return PUBLISHED
        if has_key and self.checks:
            self._pass_over(route, event, key, reason)
        return self._refuse(reason)

    cdef int _book(self, const CompiledRoute *route, PyObject *event, const Key *key) except -2:
        """Publish an order book: a group of records."""
        cdef Record records[LEVELS_MAX]
        cdef const Slot *slot = self.symbols.find(key)
        cdef int n, i
        cdef int reason = self.plan.convert_book(route, event, records, self.levels, &n)
        if slot is NULL:
            reason = self._not_asked(key, reason, &slot)
        elif reason == PUBLISHED and slot.muted:
            reason = IGNORED_LATE
        if reason == PUBLISHED and self.checks:
            reason = self._check(route, slot, records[0].sequence)
        if reason == PUBLISHED:
            for i in range(n):
                records[i].row = slot.row
                records[i].receive_ns = self.receive_ns
            if self.outlet.put(slot.shard, records, n):
                self.counters[C_EVENTS] += 1
                return PUBLISHED
            self.outlet.dropped[slot.shard] += self.outlet.overflow == DROP
            reason = self._no_room()
        if self.checks:
            self._pass_over(route, event, key, reason)
        return self._refuse(reason)

    # ---- the vendor's numbers ----

    cdef int _check(self, const CompiledRoute *route, const Slot *slot, int64_t number) except -2:
        """Look at the number of an event that is sound: PUBLISHED, or why it is not to be."""
        if self.doubled and self._came_twice(route, slot.row, number):
            return IGNORED_TWICE
        if route.stream >= 0 and self.holes is not None:
            self._follow(route, slot, number)
        return PUBLISHED

    cdef int _pass_over(self, const CompiledRoute *route, PyObject *event, const Key *key, int reason) except -2:
        """Note that an event came which is not published: its number is not missing."""
        cdef const Slot *slot
        if route.stream < 0 or self.holes is None or reason == IGNORED_TWICE:
            return 0
        slot = self.symbols.find(key)
        if slot is NULL or slot.muted:
            return 0
        return self._follow(route, slot, self.plan.number_of(route, event))

    cdef int _follow(self, const CompiledRoute *route, const Slot *slot, int64_t number) except -2:
        """Tell what is missing before an event of a stream that is numbered without a break."""
        cdef Record record
        cdef bint told
        cdef int64_t missing = self.holes.missing_before(route.stream, slot.row, number, &told)
        if not missing:
            return 0
        self.outlet.gap(&record, GAP_VENUE_HOLE, missing)
        record.row = slot.row
        record.side = told
        record.flags |= HAS_C | HAS_D
        record.value[2].i = number - missing
        record.value[3].i = number - 1
        self.outlet.tell(slot.shard, &record)
        self.holes.count(missing, told)
        return 0

    cdef bint _came_twice(self, const CompiledRoute *route, uint32_t row, int64_t sequence) noexcept nogil:
        """While two connections are there for the same events: say whether the other had this one already, and note it
        for the next."""
        cdef bint twice = self.overlap is not None and self.overlap.has(route.kind, row, sequence)
        if self.noted is not None:
            # Also what came twice: where connections change quickly, a third one may bring it yet again.
            self.noted.note(route.kind, row, sequence)
        return twice

    cdef inline int _no_room(self) noexcept:
        return DROPPED if self.outlet.overflow == DROP else SIDE_QUEUE_FULL

    cdef int _refuse(self, int reason) noexcept:
        """Count an event that goes no further."""
        self.counters[C_EVENTS] += 1
        if reason == SIDE_QUEUE_FULL or reason == DROPPED:
            # What is dropped is told ring by ring, as soon as there is room for it.
            self.outlet.side_lost += reason == SIDE_QUEUE_FULL
            self.counters[C_LOST] += 1
        self._count(reason, 1)
        return reason

    cdef inline void _count(self, int reason, uint64_t n) noexcept nogil:
        self.counters[C_REASONS + reason] += n

    cdef int _not_asked(self, const Key *key, int refused, const Slot **slot) except -2:
        """A symbol without a row: say why, or give it one if the source is declared open and the event is sound
        (`refused` is PUBLISHED)."""
        cdef const uint8_t *text = <const uint8_t *>key.word
        cdef uint32_t i
        for i in range(key.length):
            if text[i] == 0:
                return SYMBOL_NUL
        if self.open_symbols:
            if refused != PUBLISHED:
                return refused
            try:
                self.symbols.insert((<const char *>key.word)[:key.length])
            except SymbolTableFull:
                return TABLE_FULL
            slot[0] = self.symbols.find(key)
            return PUBLISHED
        for i in range(key.length):
            if text[i] > 127:
                return SYMBOL_NOT_ASCII
        return SYMBOL_NOT_ASKED

    cdef int _other(self, const char *data, Py_ssize_t size, int why) except -1:
        self._fallback(self, PyBytes_FromStringAndSize(data, size), why)
        return 0

    # ---- publishing ----

    cdef void _publish(self) noexcept:
        self.outlet.publish()
        self.frames_unpublished = 0

    cdef void _end_read(self) noexcept:
        if self.outlet.strained and self.outlet.overflow != BLOCK:
            # The side queue has the reading paused, and a timer. Here reading goes on, and room may come any time.
            self.outlet.relieve()
        self._publish()
        if self.in_read:
            # The block is shared by all listeners of the receiver, but during a read only this one writes to it.
            if <uint64_t>self.frames_this_read > self.counters[C_MAX_FRAMES]:
                self.counters[C_MAX_FRAMES] = self.frames_this_read
            self.frames_before += <uint64_t>self.frames_this_read
            self.records_here += self.counters[C_RECORDS] - self.records_at_read
            self.frames_this_read = 0
        self.in_read = False
        self.counters[C_READS] += 1

    def publish(self) -> None:
        """Show the workers everything that is in the rings."""
        self._publish()

    @property
    def holds_reading(self) -> bool:
        """Whether reading is to pause while something waits for room."""
        return self.outlet.overflow == BLOCK

    def drain(self) -> int:
        """Move what waits into the rings, as far as there is room.

        Returns
        -------
        int
            Records, events and losses still to be told that wait; 0: everything is as if no ring had been full.
        """
        return self.outlet.drain()

    def abandon(self) -> int:
        """Drop what waits for room, and count it as lost: for a listener that is done with.

        Returns
        -------
        int
            Events dropped. They were counted as published, and are not any more.
        """
        cdef int64_t lost = self.outlet.abandon()
        if not self.in_read:
            self.records_here -= <uint64_t>lost
        return lost

    # ---- for the slow path ----

    def publish_event(self, int route_index, event) -> int:
        """Publish one decoded event of route `route_index` under the guards of the hot path.

        Returns
        -------
        int
            -1 if it was published, else the Reason under which it was counted.
        """
        if not 0 <= route_index < self.plan.count or self.plan.routes[route_index].ignore >= 0:
            raise ValueError(f"entry {route_index} of the plan is no route")
        if Py_TYPE_OF(<PyObject *>event) is not self.plan.routes[route_index].event_type:
            raise TypeError(f"route {route_index} takes another type than {type(event).__name__}")
        if self.parking:
            self._parked.append((self.receive_ns, route_index, event))
            return PUBLISHED
        return self._event(&self.plan.routes[route_index], <PyObject *>event)

    def count(self, int reason, int n=1) -> None:
        """Count `n` events as received and not applied for `reason`."""
        if not 0 <= reason < 64 or n < 0:
            raise ValueError(f"no such reason: {reason}")
        self.counters[C_EVENTS] += <uint64_t>n
        self._count(reason, n)

    def count_control(self) -> None:
        """Count a message that is about the connection, not the market."""
        self.counters[C_CONTROL] += 1

    def interrupted(self) -> None:
        """Note that an interruption is told to all that it concerns: of each row that is numbered without a break,
        what is missing next is a part of that, and says how many events it was."""
        if self.holes is not None:
            self.holes.interrupted()

    # ---- two connections for the same events ----

    def note(self, Overlap overlap not None) -> None:
        """Remember in `overlap` what is published from now on: another connection is about to replace this one."""
        self.noted = overlap
        self.doubled = self.checks = True

    def park(self) -> None:
        """Keep market data unread until `release`: the connection that this one replaces is not at its end yet.

        Messages about the connection are read as ever. What is kept takes memory: look at `parked_bytes`.
        """
        self.parking = True

    def release(self, Overlap overlap) -> int:
        """Publish what was kept, but for what `overlap` says was published already; park no more.

        Parameters
        ----------
        overlap : Overlap or None
            What the other connection noted, which has come to its end. What comes later is looked up in it, too, for
            it may have been on its way to both, until this is called again with None.

        Returns
        -------
        int
            Messages that were kept.
        """
        cdef uint64_t before = self.counters[C_RECORDS]
        cdef CompiledRoute *route
        cdef bytes payload
        parked, self._parked = self._parked, []
        self.parking = False
        self.parked_bytes = 0
        self.overlap = overlap
        self.doubled = overlap is not None or self.noted is not None
        self.checks = self.doubled or self.holes is not None
        for entry in parked:
            self.receive_ns = self.outlet.receive_ns = entry[0]
            if len(entry) == 2:
                payload = entry[1]
                route = self.plan.match(PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload))
                self._routed(route, PyBytes_AS_STRING(payload), PyBytes_GET_SIZE(payload))
            else:
                self._event(&self.plan.routes[<int>entry[1]], <PyObject *>entry[2])
        # What the other one had published may still be in our socket: `overlap` holds until the next `release`.
        if not self.in_read:
            self.records_here += self.counters[C_RECORDS] - before
        self._publish()
        return len(parked)

    # ---- what is no event ----

    def publish_repair(self, bytes key not None, double price, double size, int64_t exchange_ns,
                       int64_t sequence=0) -> bool:
        """Tell the vendor's latest trade of a symbol, which was asked for after a gap.

        It is applied only where it is newer than what the row has, and to no sum.

        Parameters
        ----------
        key : bytes
            The symbol, prefix included.
        price, size : float
            Finite and positive; a size may be 0.
        exchange_ns : int
            When it traded, ns since the epoch.
        sequence : int
            The vendor's number of it; 0: none.

        Returns
        -------
        bool
            Whether the symbol has a row.

        Raises
        ------
        ValueError
            A value that no trade has.
        """
        cdef Record record
        cdef Key made
        cdef const Slot *slot
        if not 0 < price < 1e308 or not 0 <= size < 1e308 or exchange_ns <= 0:
            raise ValueError("a repair needs a positive price, a size, and a time")
        make_key(&made, <const char *>key, min(len(key), <Py_ssize_t>KEY_MAX))
        slot = self.symbols.find(&made)
        if slot is NULL or len(key) > KEY_MAX:
            return False
        self._stamp()
        memset(&record, 0, sizeof(Record))
        record.row = slot.row
        record.kind = KIND_REPAIR
        record.flags = HAS_A | HAS_B | REPAIRED_FLAG
        record.exchange_ns = exchange_ns
        record.receive_ns = self.receive_ns
        record.sequence = sequence
        record.value[0].f = price
        record.value[1].f = size
        self.outlet.tell(slot.shard, &record)
        self._publish()
        return True

    def publish_gap(self, int reason, int64_t count, symbols=None, int64_t first_ns=0, int64_t last_ns=0) -> None:
        """Tell every consumer that something is missing: one GAP record in each ring.

        Parameters
        ----------
        reason : int
            A GapReason.
        count : int
            How many events; -1: unknown.
        symbols : iterable of bytes, optional
            The keys that it concerns, of which each gets a GAP record of its own; those without a row are passed over.
            Without it, it concerns all.
        first_ns, last_ns : int
            From when to when something may be missing, ns since the epoch; 0: unknown, or not over yet.
        """
        cdef Record record
        cdef Key key
        cdef const Slot *slot
        cdef int i
        self._stamp()
        self.outlet.gap(&record, reason, count)
        record.value[2].i = first_ns
        record.value[3].i = last_ns
        record.flags |= (HAS_C if first_ns else 0) | (HAS_D if last_ns else 0)
        if symbols is not None:
            for name in symbols:
                make_key(&key, <const char *>name, len(name))
                slot = self.symbols.find(&key)
                if slot is not NULL:
                    record.row = slot.row
                    self.outlet.tell(slot.shard, &record)
            record.row = ROW_NONE
            # Those that it concerns know already.
            record.side = 1
        self.outlet.tell_all(&record)

    def publish_status(self, int64_t session, int status) -> None:
        """Tell every worker the session and the status of the market: one STATUS record in each ring.

        Parameters
        ----------
        session : int
            As yyyymmdd. All rows go over to it, unless they are in it or a later one; 0: stays as it is.
        status : int
            A MarketStatus.
        """
        cdef Record record
        cdef int i
        memset(&record, 0, sizeof(Record))
        self._stamp()
        record.row = ROW_NONE
        record.kind = KIND_STATUS
        record.flags = (HAS_A if session else 0) | HAS_B
        record.receive_ns = self.receive_ns
        record.value[0].i = session
        record.value[1].i = status
        self.outlet.tell_all(&record)

    @property
    def pending(self) -> int:
        """What waits for room: records in the side queue, events being conflated, losses and gaps to be told."""
        return self.outlet.pending()

    @property
    def frames(self) -> int:
        """Frames that came to this listener."""
        return self.frames_before + <uint64_t>self.frames_this_read

    @property
    def messages(self) -> int:
        """Whole messages that came to this listener, about the market or the connection; one that is too large counts."""
        return self.messages_here

    @property
    def last_read_ns(self) -> int:
        """When the last socket read that brought a frame returned, CLOCK_MONOTONIC in ns; 0: never."""
        return self.read_ns

    @property
    def records_published(self) -> int:
        """Data records that this listener put into rings or the side queue."""
        return self.records_here + (self.counters[C_RECORDS] - self.records_at_read if self.in_read else 0)

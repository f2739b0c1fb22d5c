# cython: language_level=3
"""`openbell.reasons.Reason` for compiled code. `plan.pyx` refuses to load if the two differ."""

cdef enum:
    # Not a reason: the event was published.
    PUBLISHED = -1
    TOO_LARGE = 3
    UNKNOWN_MESSAGE = 4
    SYMBOL_MISSING = 5
    SYMBOL_EMPTY = 6
    SYMBOL_TOO_LONG = 7
    SYMBOL_NUL = 8
    SYMBOL_NOT_ASCII = 9
    SYMBOL_NOT_ASKED = 10
    TABLE_FULL = 11
    PRICE_MISSING = 12
    PRICE_WRONG_TYPE = 13
    PRICE_NOT_FINITE = 14
    PRICE_NOT_POSITIVE = 15
    SIZE_WRONG_TYPE = 17
    SIZE_NOT_FINITE = 18
    SIZE_NEGATIVE = 19
    AMOUNT_WRONG_TYPE = 20
    AMOUNT_NOT_FINITE = 21
    AMOUNT_NEGATIVE = 22
    TIME_WRONG_TYPE = 23
    TIME_OUT_OF_RANGE = 24
    SEQUENCE_WRONG_TYPE = 25
    SEQUENCE_OUT_OF_RANGE = 26
    SIDE_WRONG_TYPE = 27
    WRONG_SHAPE = 28
    SIDE_QUEUE_FULL = 29
    SYMBOL_WRONG_TYPE = 30
    DROPPED = 31
    CONFLATED = 32
    IGNORED_LATE = 52
    IGNORED_TWICE = 53

# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
"""Conditions over float columns, a block of rows at a time: what lies between two steps never leaves the first cache.

numpy goes through the whole market for each operator, and Python through each operator for each scan; here a whole
condition is one call. A block in which no row is left skips the rest of an ``and``.
"""

from libc.math cimport fabs, sqrt
from libc.stdint cimport intptr_t, uint8_t
from libc.string cimport memchr

from openbell.core.buffers cimport Borrowed, borrow, borrow_writable

cdef enum:
    # Rows a block: the blocks of a usual condition fit into 32 KiB together.
    WIDTH = 256
    NUMBERS_MAX = 12
    MASKS_MAX = 12
    STEPS_MAX = 256
    CONSTANTS_MAX = 32
    COLUMNS_MAX = 32

cdef enum:
    PICK
    CONSTANT
    ADD
    SUB
    MUL
    DIV
    MINIMUM
    MAXIMUM
    NEG
    ABS
    SQRT
    GT
    GE
    LT
    LE
    EQ
    NE
    ISNAN
    AND
    OR
    NOT
    SKIP

STEPS = {
    "pick": PICK, "constant": CONSTANT, "add": ADD, "sub": SUB, "mul": MUL, "div": DIV, "min": MINIMUM, "max": MAXIMUM,
    "neg": NEG, "abs": ABS, "sqrt": SQRT, "gt": GT, "ge": GE, "lt": LT, "le": LE, "eq": EQ, "ne": NE, "isnan": ISNAN,
    "and": AND, "or": OR, "not": NOT, "skip": SKIP,
}  # fmt: skip
# Of each step: numbers and masks that it takes, numbers and masks that it leaves.
_EFFECTS = {
    PICK: (0, 0, 1, 0), CONSTANT: (0, 0, 1, 0), NEG: (1, 0, 1, 0), ABS: (1, 0, 1, 0), SQRT: (1, 0, 1, 0),
    ADD: (2, 0, 1, 0), SUB: (2, 0, 1, 0), MUL: (2, 0, 1, 0), DIV: (2, 0, 1, 0), MINIMUM: (2, 0, 1, 0),
    MAXIMUM: (2, 0, 1, 0), GT: (2, 0, 0, 1), GE: (2, 0, 0, 1), LT: (2, 0, 0, 1), LE: (2, 0, 0, 1), EQ: (2, 0, 0, 1),
    NE: (2, 0, 0, 1), ISNAN: (1, 0, 0, 1), AND: (0, 2, 0, 1), OR: (0, 2, 0, 1), NOT: (0, 1, 0, 1), SKIP: (0, 1, 0, 1),
}  # fmt: skip


cdef void _binary(int step, double *out, const double *a, const double *b, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    if step == ADD:
        for i in range(n):
            out[i] = a[i] + b[i]
    elif step == SUB:
        for i in range(n):
            out[i] = a[i] - b[i]
    elif step == MUL:
        for i in range(n):
            out[i] = a[i] * b[i]
    elif step == DIV:
        for i in range(n):
            out[i] = a[i] / b[i]
    elif step == MINIMUM:
        for i in range(n):
            # As numpy's: what is not there stays so.
            out[i] = a[i] if a[i] < b[i] or a[i] != a[i] else b[i]
    else:
        for i in range(n):
            out[i] = a[i] if a[i] > b[i] or a[i] != a[i] else b[i]


cdef void _unary(int step, double *out, const double *a, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    if step == NEG:
        for i in range(n):
            out[i] = -a[i]
    elif step == ABS:
        for i in range(n):
            out[i] = fabs(a[i])
    else:
        for i in range(n):
            out[i] = sqrt(a[i])


cdef void _compare(int step, uint8_t *out, const double *a, const double *b, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    if step == GT:
        for i in range(n):
            out[i] = a[i] > b[i]
    elif step == GE:
        for i in range(n):
            out[i] = a[i] >= b[i]
    elif step == LT:
        for i in range(n):
            out[i] = a[i] < b[i]
    elif step == LE:
        for i in range(n):
            out[i] = a[i] <= b[i]
    elif step == EQ:
        for i in range(n):
            out[i] = a[i] == b[i]
    else:
        for i in range(n):
            out[i] = a[i] != b[i]


cdef void _join(int step, uint8_t *out, const uint8_t *other, Py_ssize_t n) noexcept nogil:
    cdef Py_ssize_t i
    if step == AND:
        for i in range(n):
            out[i] &= other[i]
    elif step == OR:
        for i in range(n):
            out[i] |= other[i]
    else:
        for i in range(n):
            out[i] ^= 1


cdef class Program:
    """A condition as steps for a stack machine, in the order in which they are done.

    Parameters
    ----------
    steps : sequence of (str, int or float)
        Name of each step, one of `STEPS`, and its operand: of ``pick`` which column, of ``constant`` the number, of
        ``skip`` how many steps are left out where no row of a block is left; 0 for all others.
    columns : int
        How many columns there are.

    Raises
    ------
    ValueError
        The steps are too many, need too many blocks, or do not leave one condition.
    """

    cdef int count
    cdef int columns
    cdef int steps[STEPS_MAX]
    cdef int operands[STEPS_MAX]
    cdef double constants[CONSTANTS_MAX][WIDTH]

    def __init__(self, steps, columns: int) -> None:
        cdef int i, constants = 0
        numbers = masks = 0
        # What must be held where a skip ends: the same as where it began, as if nothing had been left out.
        ends = {}
        if len(steps) > STEPS_MAX or not 0 <= columns <= COLUMNS_MAX:
            raise ValueError(f"{len(steps)} steps over {columns} columns are too many")
        self.count = len(steps)
        self.columns = columns
        for at, (name, operand) in enumerate(steps):
            if ends.get(at, (numbers, masks)) != (numbers, masks):
                raise ValueError(f"step {at} lacks what was left out before it")
            step = STEPS[name]
            self.steps[at] = step
            if step == CONSTANT:
                if constants == CONSTANTS_MAX:
                    raise ValueError("too many constants")
                for i in range(WIDTH):
                    self.constants[constants][i] = operand
                self.operands[at] = constants
                constants += 1
            else:
                self.operands[at] = operand
                if step == PICK and not 0 <= operand < columns:
                    raise ValueError(f"column {operand} of {columns}")
                if step == SKIP and not 0 <= operand < len(steps) - at:
                    raise ValueError("a step is left out that is not there")
            taken = _EFFECTS[step]
            if numbers < taken[0] or masks < taken[1]:
                raise ValueError(f"step {at} lacks what it works on")
            numbers += taken[2] - taken[0]
            masks += taken[3] - taken[1]
            if step == SKIP and ends.setdefault(at + 1 + operand, (numbers, masks)) != (numbers, masks):
                raise ValueError(f"step {at} leaves out what others need")
            if numbers > NUMBERS_MAX or masks > MASKS_MAX:
                raise ValueError("too much is held at a time")
        if (numbers, masks) != (0, 1) or ends.get(len(steps), (0, 1)) != (0, 1):
            raise ValueError("the steps do not leave one condition")

    def run(self, columns, rows: int, places) -> int:
        """Find the rows for which the condition holds.

        Parameters
        ----------
        columns : sequence of buffer
            Contiguous float64, of `rows` elements each.
        rows : int
        places : writable buffer of intp, `rows` elements
            Receives them, in order.

        Returns
        -------
        int
            How many they are.

        Raises
        ------
        ValueError
            These are not as many columns as the program has, or something is too short.
        """
        cdef const double *inputs[COLUMNS_MAX]
        cdef Borrowed lent
        cdef Py_ssize_t i, start, n, found = 0, last = rows
        if len(columns) != self.columns:
            raise ValueError(f"{len(columns)} columns, and {self.columns} are needed")
        if last < 0:
            raise ValueError(f"rows must be not negative, and are {last}")
        held = [borrow(column, last * 8) for column in columns]
        for i in range(self.columns):
            lent = held[i]
            inputs[i] = <const double *>lent.data
        lent = borrow_writable(places, last * <Py_ssize_t>sizeof(intptr_t))
        cdef intptr_t *out = <intptr_t *>lent.data
        cdef uint8_t mask[WIDTH]
        with nogil:
            start = 0
            while start < last:
                n = min(<Py_ssize_t>WIDTH, last - start)
                self._block(inputs, start, n, mask)
                for i in range(n):
                    # Without a branch: where it does not hold, the next one is written over it.
                    out[found] = start + i
                    found += mask[i]
                start += n
        return found

    cdef void _block(self, const double **inputs, Py_ssize_t start, Py_ssize_t n, uint8_t *result) noexcept nogil:
        # Two a level: a loop that reads the block that it writes is not vectorised.
        cdef double scratch[2 * NUMBERS_MAX][WIDTH]
        cdef double *out
        cdef uint8_t masks[MASKS_MAX][WIDTH]
        # Columns and constants are read where they lie; only what is computed has a block of its own.
        cdef const double *numbers[NUMBERS_MAX]
        cdef int at = 0, top = 0, mask = 0, step, operand
        cdef Py_ssize_t i
        while at < self.count:
            step = self.steps[at]
            operand = self.operands[at]
            at += 1
            if step == PICK:
                numbers[top] = inputs[operand] + start
                top += 1
            elif step == CONSTANT:
                numbers[top] = self.constants[operand]
                top += 1
            elif step <= MAXIMUM:
                top -= 1
                out = scratch[2 * top - 2]
                if numbers[top - 1] == out:
                    out = scratch[2 * top - 1]
                _binary(step, out, numbers[top - 1], numbers[top], n)
                numbers[top - 1] = out
            elif step <= SQRT:
                out = scratch[2 * top - 2]
                if numbers[top - 1] == out:
                    out = scratch[2 * top - 1]
                _unary(step, out, numbers[top - 1], n)
                numbers[top - 1] = out
            elif step <= NE:
                top -= 2
                _compare(step, masks[mask], numbers[top], numbers[top + 1], n)
                mask += 1
            elif step == ISNAN:
                top -= 1
                _compare(NE, masks[mask], numbers[top], numbers[top], n)
                mask += 1
            elif step == NOT:
                _join(NOT, masks[mask - 1], masks[mask - 1], n)
            elif step == SKIP:
                if memchr(masks[mask - 1], 1, n) == NULL:
                    at += operand
            else:
                mask -= 1
                _join(step, masks[mask - 1], masks[mask], n)
        for i in range(n):
            result[i] = masks[0][i]

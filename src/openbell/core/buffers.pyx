# cython: language_level=3
"""Memory lent by a Python object (a mapped segment, a bytearray, an array) to compiled code, held while it is used.

Plain ``Py_buffer`` instead of typed memoryviews: the core needs a pointer and a length, and the compile time of the
memoryview machinery in every module is not worth the rest.
"""

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer


cdef class Borrowed:
    """A held buffer: `data` and `size` are valid for the life of this object."""

    def __cinit__(self, object buffer, bint writable):
        PyObject_GetBuffer(buffer, &self.view, PyBUF_WRITABLE if writable else PyBUF_SIMPLE)
        self.held = True
        self.data = <unsigned char *>self.view.buf
        self.size = self.view.len

    def __dealloc__(self):
        if self.held:
            PyBuffer_Release(&self.view)


cdef Borrowed borrow(object buffer, Py_ssize_t need):
    """Hold `buffer` for reading; it must have at least `need` bytes and be aligned to a word."""
    return _checked(Borrowed(buffer, False), need)


cdef Borrowed borrow_writable(object buffer, Py_ssize_t need):
    """Hold `buffer` for writing; it must have at least `need` bytes and be aligned to a word."""
    return _checked(Borrowed(buffer, True), need)


cdef Borrowed _checked(Borrowed lent, Py_ssize_t need):
    if lent.size < need:
        raise ValueError(f"a buffer of {lent.size} bytes where {need} are needed")
    if <size_t>lent.data & 7:
        raise ValueError("the buffer is not aligned to 8 bytes")
    return lent

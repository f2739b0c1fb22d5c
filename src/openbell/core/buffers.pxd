# cython: language_level=3
from cpython.buffer cimport Py_buffer


cdef class Borrowed:
    cdef Py_buffer view
    cdef bint held
    cdef unsigned char *data
    cdef Py_ssize_t size

cdef Borrowed borrow(object buffer, Py_ssize_t need)
cdef Borrowed borrow_writable(object buffer, Py_ssize_t need)

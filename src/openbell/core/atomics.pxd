# cython: language_level=3
"""Atomics, fences, futex, clock and crash points: the only inline C of the core.

Every use carries the SYNC POINT label under which docs/memory-model.md argues its order. On x86-64 an acquire load and
a release store are plain moves; on ARM64 they are ldar and stlr.

Crash points compile to nothing unless OPENBELL_CRASH_HOOKS is defined. In a build with them, a process whose
environment holds OPENBELL_CRASH=<point>:<n> kills itself (SIGKILL) at the n-th passage of that point, and
OPENBELL_NO_UNDO=1 disarms the undo, so that a test can show that it is needed.
"""

from libc.stdint cimport int64_t, uint32_t, uint64_t

cdef extern from *:
    """
    #include <stdint.h>
    #include <stdlib.h>
    #include <string.h>
    #include <time.h>
    #include <signal.h>
    #include <unistd.h>
    #include <sched.h>
    #if defined(__linux__)
    #include <sys/syscall.h>
    #include <linux/futex.h>
    #endif

    #define OB_LIKELY(x) __builtin_expect(!!(x), 1)
    #define OB_UNLIKELY(x) __builtin_expect(!!(x), 0)
    #define ob_prefetch_read(p) __builtin_prefetch((p), 0, 3)
    #define ob_prefetch_write(p) __builtin_prefetch((p), 1, 3)

    static inline uint64_t ob_load_relaxed(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
    static inline uint64_t ob_load_acquire(const uint64_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline void ob_store_relaxed(uint64_t *p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }
    static inline void ob_store_release(uint64_t *p, uint64_t v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }
    static inline uint64_t ob_bits(double v) { uint64_t u; memcpy(&u, &v, 8); return u; }
    static inline uint32_t ob_load32(const uint32_t *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
    static inline uint32_t ob_load32_acquire(const uint32_t *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline void ob_store32(uint32_t *p, uint32_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }
    static inline uint32_t ob_exchange32(uint32_t *p, uint32_t v) { return __atomic_exchange_n(p, v, __ATOMIC_ACQ_REL); }
    static inline int ob_swap_if(uint64_t *p, uint64_t expected, uint64_t value) {
        return __atomic_compare_exchange_n(p, &expected, value, 0, __ATOMIC_ACQ_REL, __ATOMIC_RELAXED);
    }
    static inline void ob_increment32(uint32_t *p) { __atomic_fetch_add(p, 1, __ATOMIC_ACQ_REL); }
    static inline void ob_fence_release(void) { __atomic_thread_fence(__ATOMIC_RELEASE); }
    static inline void ob_fence_acquire(void) { __atomic_thread_fence(__ATOMIC_ACQUIRE); }
    static inline void ob_fence_full(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

    static inline void ob_pause(void) {
    #if defined(__x86_64__) || defined(__i386__)
        __builtin_ia32_pause();
    #elif defined(__aarch64__)
        __asm__ __volatile__("yield");
    #endif
    }

    static inline void ob_yield(void) { sched_yield(); }

    static inline int64_t ob_monotonic_ns(void) {
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t)t.tv_sec * 1000000000LL + t.tv_nsec;
    }

    static inline void ob_sleep_ns(int64_t ns) {
        struct timespec t;
        t.tv_sec = ns / 1000000000LL;
        t.tv_nsec = ns % 1000000000LL;
        nanosleep(&t, NULL);
    }

    /* A futex in shared memory must not be FUTEX_PRIVATE. Elsewhere than Linux a short sleep stands in for the wait. */
    static inline void ob_futex_wait(uint32_t *word, uint32_t seen, int64_t timeout_ns) {
    #if defined(__linux__)
        struct timespec t;
        t.tv_sec = timeout_ns / 1000000000LL;
        t.tv_nsec = timeout_ns % 1000000000LL;
        syscall(SYS_futex, word, FUTEX_WAIT, seen, &t, NULL, 0);
    #else
        int64_t slept = 0;
        int64_t step = 20000;
        while (slept < timeout_ns && ob_load32(word) == seen) {
            ob_sleep_ns(step);
            slept += step;
            if (step < 500000) step *= 2;
        }
    #endif
    }

    static inline void ob_futex_wake(uint32_t *word) {
    #if defined(__linux__)
        syscall(SYS_futex, word, FUTEX_WAKE, 0x7fffffff, NULL, NULL, 0);
    #else
        (void)word;
    #endif
    }

    #ifdef OPENBELL_CRASH_HOOKS
    static int64_t ob_crash_left = -1;
    static int ob_crash_armed = -2;
    static inline void ob_crash_point(int point) {
        if (ob_crash_armed == -2) {
            const char *spec = getenv("OPENBELL_CRASH");
            const char *colon = spec ? strchr(spec, ':') : NULL;
            ob_crash_armed = colon ? atoi(spec) : -1;
            ob_crash_left = colon ? atoll(colon + 1) : -1;
        }
        if (point == ob_crash_armed && --ob_crash_left == 0) kill(getpid(), SIGKILL);
    }
    static inline int ob_undo_disabled(void) {
        static int disabled = -1;
        if (disabled < 0) disabled = getenv("OPENBELL_NO_UNDO") != NULL;
        return disabled;
    }
    #define OB_CRASH_HOOKS 1
    #define OB_CRASH_POINT(point) ob_crash_point(point)
    #else
    #define OB_CRASH_HOOKS 0
    #define OB_CRASH_POINT(point) ((void)0)
    #define ob_undo_disabled() 0
    #endif
    """
    uint64_t load_relaxed "ob_load_relaxed"(const uint64_t *p) noexcept nogil
    uint64_t load_acquire "ob_load_acquire"(const uint64_t *p) noexcept nogil
    void store_relaxed "ob_store_relaxed"(uint64_t *p, uint64_t value) noexcept nogil
    void store_release "ob_store_release"(uint64_t *p, uint64_t value) noexcept nogil
    uint64_t bits_of "ob_bits"(double value) noexcept nogil
    uint32_t load32 "ob_load32"(const uint32_t *p) noexcept nogil
    uint32_t load32_acquire "ob_load32_acquire"(const uint32_t *p) noexcept nogil
    void store32 "ob_store32"(uint32_t *p, uint32_t value) noexcept nogil
    uint32_t exchange32 "ob_exchange32"(uint32_t *p, uint32_t value) noexcept nogil
    bint swap_if "ob_swap_if"(uint64_t *p, uint64_t expected, uint64_t value) noexcept nogil
    void increment32 "ob_increment32"(uint32_t *p) noexcept nogil
    void fence_release "ob_fence_release"() noexcept nogil
    void fence_acquire "ob_fence_acquire"() noexcept nogil
    void fence_full "ob_fence_full"() noexcept nogil
    void cpu_pause "ob_pause"() noexcept nogil
    void cpu_yield "ob_yield"() noexcept nogil
    int64_t monotonic_ns "ob_monotonic_ns"() noexcept nogil
    void sleep_ns "ob_sleep_ns"(int64_t ns) noexcept nogil
    void futex_wait "ob_futex_wait"(uint32_t *word, uint32_t seen, int64_t timeout_ns) noexcept nogil
    void futex_wake "ob_futex_wake"(uint32_t *word) noexcept nogil
    void prefetch_read "ob_prefetch_read"(const void *p) noexcept nogil
    void prefetch_write "ob_prefetch_write"(const void *p) noexcept nogil
    bint likely "OB_LIKELY"(bint condition) noexcept nogil
    bint unlikely "OB_UNLIKELY"(bint condition) noexcept nogil
    void crash_point "OB_CRASH_POINT"(int point) noexcept nogil
    bint undo_disabled "ob_undo_disabled"() noexcept nogil
    const int CRASH_HOOKS "OB_CRASH_HOOKS"

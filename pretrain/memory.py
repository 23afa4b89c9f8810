"""Let the process keep the memory that it frees."""

import ctypes

# Of glibc's malloc.h; values are C ints.
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Tell glibc's malloc to hand nothing back to the system; return whether it took the word.

    A step of training allocates and frees the same gigabytes of activations again and again. As
    delivered, malloc gives large blocks back when they are freed, and the next step faults their
    pages in again, 4 KiB at a time: some 100,000 faults and a tenth of a step of the preset `slim`
    (128 clips), a quarter at 256 clips. Elsewhere than on glibc nothing happens.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return all([mallopt(_MMAP_MAX, 0), mallopt(_TRIM_THRESHOLD, _NEVER)])

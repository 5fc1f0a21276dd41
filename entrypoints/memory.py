"""glibc's allocator, told to keep what it once had. Called by train.py before anything large is allocated."""

import ctypes
import sys

# From malloc.h. A forward pass allocates and frees the same hundreds of megabytes for each batch. By default
# glibc gives them back to the kernel and gets them again page by page: half the time of a ResNet50 on a CPU.
M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_MAX = -1, -2, -4


def keep_freed_memory():
    """Nothing where there is no glibc: there is no such waste either."""
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "gnu_get_libc_version"):
        libc.mallopt(M_MMAP_MAX, 0)
        libc.mallopt(M_TRIM_THRESHOLD, 2**31 - 1)
        libc.mallopt(M_TOP_PAD, 64 * 2**20)

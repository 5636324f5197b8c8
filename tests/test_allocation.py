"""A process that keeps its freed memory, as the system sees it."""

import subprocess
import sys

import pytest

# Prints the page faults of 20 blocks of 64 MB, each filled and given back.
PROGRAM = """
import resource, sys
import numpy as np
from jaxgan import allocation

kept = allocation.keep() if sys.argv[1] == "keep" else None
def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for i in range(20):
    if i == 2:
        before = faults()
    np.full(2**24, i, np.float32)
print(kept, faults() - before)
"""


def run(word: str, **environment) -> tuple[str, int]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, word],
        capture_output=True,
        text=True,
        check=True,
        env={"NUMPY_MADVISE_HUGEPAGE": "0", **environment},
    )
    kept, faults = done.stdout.split()
    return kept, int(faults)


@pytest.mark.skipif(sys.platform != "linux", reason="of Linux's C library")
def test_freed_memory_is_not_asked_for_again():
    page = 2**12
    assert run("leave")[1] > 2**26 // page  # that the program measures what it is meant to
    assert run("keep", JAX_PLATFORMS="cpu")[0] == "True"
    assert run("keep", JAX_PLATFORMS="cpu")[1] < 2**26 // page // 10


def test_other_devices_leave_it_alone():
    assert run("keep", JAX_PLATFORMS="cuda,cpu")[0] == "False"

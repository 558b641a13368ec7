"""Freed memory is kept for the next tensors, and handed back when asked; seen from outside, by the system's counts."""

import platform
import subprocess
import sys

import pytest

MEBIBYTES = 100

PROGRAM = f"""
import resource, sys
import torch
from robustprune.core.host_memory import hand_back_freed, keep_freed

def resident():
    return next(int(line.split()[1]) // 1024 for line in open("/proc/self/status") if line.startswith("VmRSS"))

if sys.argv[1] == "keep":
    keep_freed()
before = resident()
for _ in range(20):  # until the allocator has found its places
    torch.ones({MEBIBYTES}, 2**18)
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    torch.ones({MEBIBYTES}, 2**18)
faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt - faults
kept = resident() - before
hand_back_freed()
print(faults, kept, resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told what to keep")
def test_memory_is_kept_until_it_is_handed_back() -> None:
    measured = {}
    for mode in ("keep", "leave"):
        ran = subprocess.run([sys.executable, "-c", PROGRAM, mode], capture_output=True, text=True, check=True)
        measured[mode] = [int(number) for number in ran.stdout.split()]
    faults, kept, left = measured["keep"]
    assert faults < measured["leave"][0] / 10
    assert kept > 0.9 * MEBIBYTES
    assert left < 0.1 * MEBIBYTES

"""What computes: the device, and the libraries that its figures depend on."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator

import torch

from benchmarks.gpu.figures import Bench, Figure
from robustprune.core.devices import accelerator_name


def run(bench: Bench) -> Iterator[Figure]:
    """Yield names and versions."""
    device = torch.device(bench.device)
    yield Figure("device", accelerator_name(device))
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        free, total = torch.cuda.mem_get_info(device)
        yield Figure("memory", total / 2**30, "GiB")
        yield Figure("memory free before anything ran", free / 2**30, "GiB")
        yield Figure("compute capability", f"{properties.major}.{properties.minor}")
        yield Figure("GPUs that PyTorch sees", torch.cuda.device_count())
        yield Figure("CUDA", str(torch.version.cuda))
        yield Figure("cuDNN", str(torch.backends.cudnn.version()))
    yield Figure("PyTorch", str(torch.__version__))
    yield Figure("Python", platform.python_version())
    yield Figure("CPUs", os.cpu_count())
    yield Figure("threads of a process", torch.get_num_threads())

"""Arrays made of tensors."""

import numpy as np
import pytest
import torch

from robustprune.core.arrays import to_arrays


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_arrays_are_copies_in_c_order(memory_format: torch.memory_format) -> None:
    tensor = torch.arange(120.0).reshape(2, 3, 4, 5).to(memory_format=memory_format).requires_grad_()
    array = to_arrays({"a": tensor})["a"]
    assert array.flags.c_contiguous
    assert array.flags.writeable
    with torch.no_grad():
        tensor.zero_()
    assert np.array_equal(array.ravel(), np.arange(120.0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.uint8, torch.bool])
def test_types_and_shapes_stay(dtype: torch.dtype) -> None:
    for shape in ((), (0,), (2, 3)):
        array = to_arrays({"a": torch.ones(shape, dtype=dtype)})["a"]
        assert array.shape == shape
        assert torch.tensor(array).dtype == dtype

"""What a device is called in rows and tables."""

import torch


def device_name(device: torch.device) -> str:
    """Return the model of a GPU, or `cpu`."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"

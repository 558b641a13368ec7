"""What the columns are that rows of every study of pruning have, with units; see `sweeps.study.Study.meanings`."""

from robustprune.methods import method_meanings
from robustprune.studies.pruning.seen import SEEN_MEANINGS

SHARED_MEANINGS = SEEN_MEANINGS | {
    **method_meanings(),
    "inference_ms": "mean time of one image, a batch by itself, by the fastest engine found; milliseconds",
    "inference_ms_p50": "the median of these times; milliseconds",
    "inference_ms_p95": "their 95th percentile; milliseconds",
    "inference_ms_dense": "mean time of the unpruned network, in turns with the pruned one; milliseconds",
    "inference_ms_dense_p50": "the median of these times; milliseconds",
    "speedup": "how many times as fast the pruned network is as the unpruned one, which took turns in one process",
    "speedup_low": "lower end of its 95% interval",
    "speedup_high": "upper end of its 95% interval",
    "speedup_control": "the same of the unpruned network and a copy of itself, which should be 1",
    "speedup_control_low": "lower end of its 95% interval",
    "speedup_control_high": "upper end of its 95% interval",
    "timing_turns": "how often each network was timed",
    "timing_doubtful": "the control was not near 1, or others computed on the device: times are not to be trusted",
    "engine": "what ran the pruned network fastest: dense, compact (without what zeros made idle) or sparse",
    "params_total": "parameters of the unpruned network",
    "params_kept": "parameters without those that were pruned and what went with them",
    "macs_dense": "multiply–accumulates of the unpruned network, per image",
    "macs": "multiply–accumulates without the weights that were pruned and what went with them, per image",
    "compression": "parameters that are no biases, of the unpruned network over those that are kept; 1: nothing pruned",
    "operations_removed": "fraction of macs_dense that macs leaves out, of [0, 1]",
    "renew_s": "renewing batch norm's statistics after pruning; seconds, part of the training after it",
    "evaluate_s": "measuring; seconds",
    "device": "model of the GPU, or cpu",
    "accelerator": "model of the GPU or of the CPU",
    "device_shared_by": "rows that were computed on the device at a time",
    "threads": "CPU threads",
    "torch_version": "of PyTorch",
}

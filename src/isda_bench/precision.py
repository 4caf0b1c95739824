"""How exactly a GPU computes."""

import torch


def set_precision(precision: str) -> None:
    """Sets what holds for the whole process; a CPU does not ask.

    TF32, torch's default for convolutions, is for those of `tf32` and `bf16` alone: statistics and loss are
    taken in float32. Convolutions sum in the same order every time, so that a run that goes on gives the same
    numbers.

    Args:
        precision: the configuration's: fp32, tf32 or bf16.
    """
    torch.backends.cudnn.allow_tf32 = precision != "fp32"
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.deterministic = True

"""Weights of a timm backbone: read from a file, or downloaded."""

import isda_bench.runtime.torchvision_import  # noqa: F401  # isort: skip

import math
import re
import warnings
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import timm
import torch
from huggingface_hub import hf_hub_download
from timm.layers import resample_abs_pos_embed
from timm.models import adapt_input_conv, load_state_dict
from torch import Tensor, nn

from isda_bench.errors import UserError
from isda_bench.runtime.file_checksums import file_checksum
from isda_bench.runtime.pretrained_weights import pretrained_weights_wanted

FILE = "model.safetensors"
WANTED = "expected: safetensors, or a state_dict (tensors by name) as torch.save writes it"
SHOWN = 3  # names of objects that an error lists
_GLOBALS = re.compile(r"Unsupported globals: (\w+(?:\.\w+)*(?:, \w+(?:\.\w+)*)*)")


def load_pretrained(backbone: Any, name: str, weights: str | None, sha256: str | None) -> str | None:
    """Loads the weights of a backbone that has no head; on the meta device they are read and compared only.

    Args:
        backbone: timm's, from `create_model(name, num_classes=0)`.
        name: of the network, with the name of the weights that are downloaded where there is no file.
        weights: the file: safetensors, or a state_dict as torch.save writes it, also within 'state_dict' or
            'model' and with names that begin with 'module.', as timm reads them.
        sha256: of the file; null: not checked.

    Returns:
        The file's checksum; None where nothing was loaded.

    Raises:
        ValueError: the file cannot be read, has another checksum or is another network's.
        UserError: the weights cannot be downloaded.
    """
    on_meta = next(backbone.parameters()).is_meta
    if not pretrained_weights_wanted() or (weights is None and on_meta):
        return None
    path = Path(weights).expanduser() if weights is not None else _download(name)
    state = _read(path)
    checksum = file_checksum(path)
    if sha256 is not None and checksum != sha256:
        raise ValueError(f"weights_sha256={sha256}: {path} has {checksum}")
    state = _fitting(state, backbone)
    _compare(path, state, backbone)
    if not on_meta:
        backbone.load_state_dict(state)
    return checksum


def _download(name: str) -> Path:
    """The file of timm's weights in the hub's cache, downloaded if it is not there yet."""
    config = timm.get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        raise ValueError(f"name={name}: its weights are not on the hub; weights=<file> takes a file")
    try:
        return Path(hf_hub_download(config.hf_hub_id, config.hf_hub_filename or FILE))
    except Exception as error:  # of the network, of the hub, of its cache
        reason = str(error).strip().splitlines()[0]
        raise UserError(
            f"model.pretrained: the weights {name} cannot be downloaded ({reason}); "
            f"model.weights=<file> takes a file"
        ) from error


def _read(path: Path) -> dict[str, Tensor]:
    """The tensors of a file by name: without what timm takes off too ('state_dict', 'model', 'module.').

    Nothing but tensors and plain values is unpickled.
    """
    if not path.is_file():
        raise ValueError(f"weights={path}: no such file")
    if not path.stat().st_size:
        raise ValueError(f"weights={path}: the file is empty; {WANTED}")
    try:
        with warnings.catch_warnings():  # torch's, about files that it did not write
            warnings.simplefilter("ignore")
            state = load_state_dict(str(path), weights_only=True)
    except Exception as error:  # of pickle, safetensors, torch or timm: any, where the content is anybody's
        raise ValueError(f"weights={path}: cannot be read: {_reason(error)}; {WANTED}") from error
    problem = next(filter(None, (_problem(name, value) for name, value in state.items())), None)
    if problem is not None:
        raise ValueError(f"weights={path}: {problem}; {WANTED}")
    return {str(name): value for name, value in state.items()}


def _reason(error: Exception) -> str:
    """Why a file cannot be read, without torch's advice: to load what is not trusted is none."""
    text = str(error)
    objects = _GLOBALS.search(text)
    if isinstance(error, UnpicklingError) or "weights_only" in text:
        shown = f" ({', '.join(sorted(objects[1].split(', '))[:SHOWN])})" if objects else ""
        return f"it holds objects that are no tensors{shown}, or is no pickle; such objects are never loaded"
    return "damaged, or another kind of file"


def _problem(name: object, value: object) -> str | None:
    """The problem of an entry of a state; null: none."""
    if not isinstance(value, Tensor):
        return f"{name} is a value of type {type(value).__name__}, not a tensor"
    if value.layout != torch.strided or value.is_quantized or value.is_complex():
        return f"{name} is no plain tensor of real numbers"
    if value.is_floating_point() and not value.isfinite().all():
        return f"{name} has values that are not finite"
    return None


def _fitting(state: dict[str, Tensor], backbone: Any) -> dict[str, Tensor]:
    """The state without the classifier, its first convolution for the images' number of channels."""
    config = backbone.pretrained_cfg
    heads, first = config.get("classifier") or (), config.get("first_conv") or ()
    heads = (heads,) if isinstance(heads, str) else heads
    state = {k: v for k, v in state.items() if not any(k.startswith(f"{head}.") for head in heads)}
    for name in (first,) if isinstance(first, str) else first:
        key, own = f"{name}.weight", backbone.state_dict().get(f"{name}.weight")
        if own is not None and key in state and _differ_in_channels(state[key], own):
            with suppress(AssertionError, NotImplementedError):  # `_compare` says that they do not fit
                state[key] = adapt_input_conv(own.shape[1], state[key])
    _resample_positions(state, backbone)
    return state


def _differ_in_channels(held: Tensor, own: Tensor) -> bool:
    """Whether two convolutions are for different numbers of channels, and alike otherwise."""
    outer, inner = ([*tensor.shape[:1], *tensor.shape[2:]] for tensor in (held, own))
    return held.ndim == own.ndim == 4 and outer == inner and held.shape[1] != own.shape[1]


def _resample_positions(state: dict[str, Tensor], backbone: Any) -> None:
    """Makes the position embeddings in the state those of the backbone's images, as timm does."""
    held, own = state.get("pos_embed"), getattr(backbone, "pos_embed", None)
    grid = getattr(getattr(backbone, "patch_embed", None), "grid_size", None)
    if held is None or own is None or grid is None or held.ndim != 3 or held.shape == own.shape:
        return
    prefix = getattr(backbone, "num_prefix_tokens", 1)
    places = held.shape[1] - prefix
    if places < 1 or math.isqrt(places) ** 2 != places or own.shape[1] != grid[0] * grid[1] + prefix:
        return  # `_compare` says that they do not fit
    state["pos_embed"] = resample_abs_pos_embed(held, list(grid), num_prefix_tokens=prefix)


def _compare(path: Path, state: dict[str, Tensor], backbone: nn.Module) -> None:
    """Raises ValueError if the state is not the backbone's, tensor by tensor."""
    own = backbone.state_dict()
    wrong = [text for key, value in own.items() if (text := _difference(key, state.get(key), value))]
    wrong += [f"has {key}, which the network has not" for key in state if key not in own]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise ValueError(f"weights={path}: of another network: {wrong[0]}{more}")


def _difference(key: str, held: Tensor | None, own: Tensor) -> str:
    """The difference between a file's tensor and the backbone's own; '' where the two are of one kind."""
    if held is None:
        return f"lacks {key}, expected of shape {tuple(own.shape)}"
    if held.shape != own.shape:
        return f"has {key} of shape {tuple(held.shape)}, expected {tuple(own.shape)}"
    if held.is_floating_point() != own.is_floating_point():
        found, expected = (str(tensor.dtype).removeprefix("torch.") for tensor in (held, own))
        return f"has {key} of {found}, expected {expected}"
    return ""

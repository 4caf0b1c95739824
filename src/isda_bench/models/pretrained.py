"""Weights of a timm backbone: read from a file, or downloaded."""

import isda_bench.runtime.torchvision_import  # noqa: F401  # isort: skip

import math
from pathlib import Path
from typing import Any

import timm
from huggingface_hub import hf_hub_download
from timm.layers import resample_abs_pos_embed
from timm.models import adapt_input_conv, load_state_dict
from torch import Tensor, nn

from isda_bench.errors import UserError
from isda_bench.runtime.file_checksums import file_checksum
from isda_bench.runtime.pretrained_weights import pretrained_weights_wanted

FILE = "model.safetensors"


def load_pretrained(backbone: Any, name: str, weights: str | None, sha256: str | None) -> str | None:
    """Loads the weights of a backbone that has no head; on the meta device they are read and compared only.

    Args:
        backbone: timm's, from `create_model(name, num_classes=0)`.
        name: of the network, with the name of the weights that are downloaded where there is no file.
        weights: the file; safetensors or torch's.
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
    if not path.is_file():
        raise ValueError(f"weights={path}: no such file")
    try:
        return load_state_dict(str(path), weights_only=True)
    except Exception as error:  # of pickle, safetensors or torch
        raise ValueError(f"weights={path}: cannot be read: {str(error).splitlines()[0]}") from error


def _fitting(state: dict[str, Tensor], backbone: Any) -> dict[str, Tensor]:
    """The state without the classifier, its first convolution for the images' number of channels."""
    config = backbone.pretrained_cfg
    heads, first = config.get("classifier") or (), config.get("first_conv") or ()
    heads = (heads,) if isinstance(heads, str) else heads
    state = {k: v for k, v in state.items() if not any(k.startswith(f"{head}.") for head in heads)}
    for name in (first,) if isinstance(first, str) else first:
        key, own = f"{name}.weight", backbone.state_dict().get(f"{name}.weight")
        if own is not None and key in state and state[key].shape[1:2] != own.shape[1:2]:
            state[key] = adapt_input_conv(own.shape[1], state[key])
    _resample_positions(state, backbone)
    return state


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
    own = {key: tuple(value.shape) for key, value in backbone.state_dict().items()}
    found = {key: tuple(value.shape) for key, value in state.items()}
    wrong = [f"lacks {key}" for key in own.keys() - found.keys()]
    wrong += [f"has {key}, which the network has not" for key in found.keys() - own.keys()]
    both = own.keys() & found.keys()
    wrong += [f"has {key} of {found[key]}, not {own[key]}" for key in both if own[key] != found[key]]
    if wrong:
        more = f" (and {len(wrong) - 1} more)" if len(wrong) > 1 else ""
        raise ValueError(f"weights={path}: of another network: {min(wrong)}{more}")

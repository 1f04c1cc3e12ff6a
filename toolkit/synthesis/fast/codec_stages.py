"""Whether the codec's last stages run as fused kernels, and these."""

from __future__ import annotations

from importlib import import_module

import torch

from toolkit.synthesis.codec_decoder import CodecDecoder, WaveformStages
from toolkit.synthesis.fast.kernel_shelf import can_chain
from toolkit.synthesis.fast.path import TRITON_GRAPH, choose_path, triton_version

__all__ = ["waveform_stages"]


def waveform_stages(decoder: CodecDecoder) -> tuple[WaveformStages | None, str]:
    """Kernels for a decoder that was loaded, and a few words on why there are some or none.

    In float32 there are none: they would have to multiply outside of the matrix units.
    """
    device = decoder.device
    if decoder.dtype == torch.float32 and not decoder.tf32:
        return None, "float32 needs the exact products of PyTorch"
    if decoder.dtype not in (torch.float32, torch.bfloat16):
        return None, f"no kernels for {str(decoder.dtype).removeprefix('torch.')}"
    capability = torch.cuda.get_device_capability(device) if device.type == "cuda" else None
    triton = triton_version()
    path = choose_path(device.type, capability, triton)
    if path.value != TRITON_GRAPH or capability is None or triton is None:
        return None, path.reason
    # By name, since the module needs Triton.
    try:
        blocks = import_module("toolkit.synthesis.fast.codec_blocks")
    except ImportError as error:
        return None, str(error)
    products = "tf32" if decoder.dtype == torch.float32 else "bf16"
    made: WaveformStages = blocks.CodecBlocks(decoder, products, chained=can_chain(capability, triton))
    return made, f"its convolutions are fused kernels in {products.upper()}"

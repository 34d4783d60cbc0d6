"""Torch: a DataLoader whose process decodes, torchvision's mobilenet_v2 with Keras's weights, channels last, fused."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import nn
from torch.fx.experimental.optimization import fuse
from torch.utils.data import DataLoader, Dataset
from torchvision.models import mobilenet_v2
from torchvision.transforms.functional import pil_to_tensor

folder, tensors, output = sys.argv[1:]


class Images(Dataset[Any]):  # type: ignore[misc] # has no types here
    """The files below a folder, decoded."""

    def __init__(self, folder: str) -> None:
        self.paths = sorted(str(path) for path in Path(folder).glob("**/*.jpg"))

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> Any:
        return self.paths[row], pil_to_tensor(Image.open(self.paths[row]).convert("RGB").resize((224, 224)))


def load_model(tensors: str) -> Any:
    """Put Keras's tensors into torchvision's network; Keras pads strides of 2 at the end, and its epsilon is larger."""
    model = mobilenet_v2().eval()
    with np.load(tensors) as stored:
        values = iter([stored[name] for name in stored.files])
    for layer in model.features.modules():
        if isinstance(layer, nn.Conv2d):
            order = (2, 3, 0, 1) if layer.groups > 1 else (3, 2, 0, 1)
            layer.weight.data = torch.from_numpy(next(values)).permute(order).contiguous()
            if layer.stride == (2, 2):
                layer.padding = (0, 0)
                layer.register_forward_pre_hook(lambda _, inputs: nn.functional.pad(inputs[0], (0, 1, 0, 1)))
        elif isinstance(layer, nn.BatchNorm2d):
            layer.eps = 1e-3
            for name in ("weight", "bias", "running_mean", "running_var"):
                getattr(layer, name).data = torch.from_numpy(next(values))
    # https://pytorch.org/tutorials/intermediate/fx_conv_bn_fuser.html
    return fuse(model.features).to(memory_format=torch.channels_last)


features = load_model(tensors)
torch.set_num_threads(2)
paths, rows = [], []
with torch.inference_mode():
    for names, pixels in DataLoader(Images(folder), batch_size=32, num_workers=1):
        batch = (pixels.float() / 127.5 - 1).contiguous(memory_format=torch.channels_last)
        rows.append(features(batch).mean((2, 3)).numpy())
        paths.extend(names)
pq.write_table(pa.table({"path": paths, "features": list(np.concatenate(rows))}), output)

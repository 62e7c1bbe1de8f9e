"""Write a PyTorch model in inference mode as an ONNX file.

usage: python -m benchmarks.engines.export_onnx MODEL BATCH FILE
"""

from __future__ import annotations

import sys
import warnings

import torch

from benchmarks.engines.torch_models import build
from benchmarks.workloads import WORKLOADS


def main() -> None:
    name, batch, path = sys.argv[1:]
    x = torch.from_numpy(WORKLOADS[name].inputs(int(batch)))
    if x.ndim == 4:
        x = x.permute(0, 3, 1, 2).contiguous()
    # The tracing exporter: the newer one needs a further package and gives the same graph for these models.
    warnings.simplefilter("ignore", DeprecationWarning)
    torch.onnx.export(build(name).eval(), (x,), path, opset_version=17, dynamo=False)


if __name__ == "__main__":
    main()

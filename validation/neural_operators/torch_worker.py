"""Seconds per sample of a training step in PyTorch, as a line of JSON.

    PYTHON torch_worker.py '{"model": "FNO", "batch": 20, "shape": [64, 64], ...}'

PYTHON is that of an environment with torch and neuraloperator; README.md says how it is
made. A step is that of krylax: forward, relative L2, backward, Adam.
"""

# pyright: basic, reportMissingImports=false

import json
import sys
import time

import torch
from torch_models import IFactFormer


def made(request: dict) -> torch.nn.Module:
    """The model of a request."""
    axes, channels = len(request["shape"]), request["channels"]
    if request["model"] == "FNO":
        from neuralop.models import FNO

        # neuraloperator counts the modes of both signs.
        return FNO(
            n_modes=[2 * m for m in request["num_modes"]],
            in_channels=channels,
            out_channels=channels,
            hidden_channels=request["width"],
            n_layers=request["num_layers"],
            lifting_channel_ratio=1,
            projection_channel_ratio=4,
        )
    return IFactFormer(
        axes,
        channels,
        channels,
        request["width"],
        request["num_heads"],
        request["head_width"],
        request["num_iterations"],
    )


def main() -> None:
    """Time steps until they have taken the seconds that are asked for."""
    request = json.loads(sys.argv[1])
    torch.manual_seed(0)
    torch.set_num_threads(request["threads"])
    model = made(request)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    shape = (request["batch"], request["channels"], *request["shape"])
    x, y = torch.randn(shape), torch.randn(shape)

    def step() -> None:
        optimizer.zero_grad()
        axes = tuple(range(1, y.ndim))
        error = torch.linalg.vector_norm(model(x) - y, dim=axes)
        loss = (error / torch.linalg.vector_norm(y, dim=axes)).mean()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()

    step()
    step()
    seconds = []
    while sum(seconds) < request["seconds"] or len(seconds) < 3:
        start = time.perf_counter()
        step()
        seconds.append(time.perf_counter() - start)
    count = sum(p.numel() * (2 if p.is_complex() else 1) for p in model.parameters())
    found = {"parameters": count, "per_sample": min(seconds) / request["batch"]}
    print(json.dumps(found | {"torch": torch.__version__}))


if __name__ == "__main__":
    main()

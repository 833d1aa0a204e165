"""IFactFormer-m in PyTorch, as a rival: written from the equations, no more.

Run by the Python of an environment of its own (`torch_worker.py`), imported by nobody
in krylax. Fields are (batch, channels, *shape).
"""

# pyright: basic, reportMissingImports=false

import math

import torch
from torch import nn
from torch.nn import functional as F


def rotary(coordinates: torch.Tensor, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Cosines and sines of 64 x / 10000^(2i/width)."""
    frequencies = 64 * 10000 ** (-torch.arange(0, width, 2) / width)
    angles = coordinates[:, None] * frequencies
    return angles.cos()[:, None], angles.sin()[:, None]


def turned(x: torch.Tensor, cosines: torch.Tensor, sines: torch.Tensor) -> torch.Tensor:
    """The pair (i, i + width/2) turned by its angle."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat(
        [first * cosines - second * sines, second * cosines + first * sines], dim=-1
    )


class Axis(nn.Module):
    """The kernels of all heads along one axis."""

    def __init__(self, width: int, heads: int, key_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.reduce = nn.Linear(width, width, bias=False)
        self.norm = nn.LayerNorm(width)
        self.gate = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.query = nn.Linear(width, heads * key_width, bias=False)
        self.key = nn.Linear(width, heads * key_width, bias=False)
        for layer in (self.query, self.key):
            nn.init.xavier_uniform_(layer.weight, gain=0.02)

    def forward(
        self, s: torch.Tensor, axis: int, tables: tuple[torch.Tensor, torch.Tensor]
    ) -> torch.Tensor:
        """The kernels, (batch, heads, n, n)."""
        others = [a for a in range(1, s.ndim - 1) if a != axis + 1]
        pooled = self.reduce(s).mean(dim=others) if others else self.reduce(s)
        g, h = self.gate(self.norm(pooled)).chunk(2, dim=-1)
        u = self.out(F.gelu(g) * h)
        q, k = (
            turned(f(u).unflatten(-1, (self.heads, -1)), *tables)
            for f in (self.query, self.key)
        )
        return torch.einsum("bihc,bjhc->bhij", q, k)


class Block(nn.Module):
    """Parallel mixing, instance norm, a perceptron of two layers."""

    def __init__(self, axes: int, width: int, heads: int, head_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.values = nn.Linear(width, heads * head_width, bias=False)
        self.inner = nn.Linear(width, width, bias=False)
        self.axes = nn.ModuleList(
            Axis(width, heads, 3 * head_width) for _ in range(axes)
        )
        self.first = nn.Linear(axes * heads * head_width, width, bias=False)
        self.second = nn.Linear(width, width, bias=False)

    def forward(self, v: torch.Tensor, tables: list[torch.Tensor]) -> torch.Tensor:
        """What is added to the features v, (batch, *shape, width)."""
        w = self.norm(v)
        s = self.inner(w)
        values = self.values(w).unflatten(-1, (self.heads, -1))
        letters = "xyz"[: v.ndim - 2]
        parts = []
        for a, kernel in enumerate(self.axes):
            K = kernel(s, a, tables[a])
            new = letters.replace(letters[a], "n")
            rule = f"bhn{letters[a]},b{letters}hc->b{new}hc"
            parts.append(torch.einsum(rule, K, values).flatten(-2))
        z = torch.cat(parts, dim=-1).movedim(-1, 1)
        return self.second(F.gelu(self.first(F.instance_norm(z).movedim(1, -1))))


class IFactFormer(nn.Module):
    """The parallel one, with equally spaced points of the unit box."""

    def __init__(
        self,
        axes: int,
        inputs: int,
        outputs: int,
        width: int,
        heads: int,
        head_width: int,
        iterations: int,
    ) -> None:
        super().__init__()
        self.iterations, self.key_width = iterations, 3 * head_width
        self.lift = nn.Sequential(
            nn.Linear(inputs, width // 2),
            nn.GELU(),
            nn.Linear(width // 2, width, False),
        )
        self.register_buffer("frequencies", 8 * torch.randn(axes, width // 2))
        self.positions = nn.Linear(width, width)
        self.block = Block(axes, width, heads, head_width)
        self.project = nn.Sequential(
            nn.Linear(width, width // 2, False),
            nn.GELU(),
            nn.Linear(width // 2, outputs),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The prediction."""
        axes = [torch.linspace(0, 1, n) for n in x.shape[2:]]
        tables = [rotary(points, self.key_width) for points in axes]
        points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
        phases = 2 * math.pi * points @ self.frequencies
        v = self.lift(x.movedim(1, -1))
        v = v + self.positions(torch.cat([phases.sin(), phases.cos()], dim=-1))
        for _ in range(self.iterations):
            v = v + self.block(v, tables) / self.iterations
        return self.project(v).movedim(-1, 1)

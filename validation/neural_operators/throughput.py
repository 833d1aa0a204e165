"""Seconds of a training step per sample, beside other libraries on the same cores.

A step is forward, relative L2, backward, clipping and Adam in float32, the best of as
many as fit into some seconds. PyTorch runs in an environment of its own, whose Python
the variable KRYLAX_TORCH_PYTHON names; libraries in JAX (`jax_rivals.py`) take the very
step that krylax takes.
"""

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax_rivals import RIVALS
from models import CASES, Case
from tables import number, table

from krylax.learned import training

TITLE = "Seconds of a training step"
PARTS = tuple(CASES)
FAST_PARTS = ("IFactFormer-m, 32²",)
SECONDS = 25.0
WORKER = Path(__file__).with_name("torch_worker.py")


def measure_part(part: str, folder: Path, *, is_fast: bool) -> dict[str, Any]:
    """One model in krylax and in PyTorch."""
    del folder
    case, seconds = CASES[part], SECONDS
    if is_fast:
        case, seconds = case._replace(shape=(8, 8), batch=2, accumulate=2), 0.1
    found: dict[str, Any] = {"krylax": timed(case.make(), case, seconds)}
    found["PyTorch"] = torch(case, seconds)
    for name, make in RIVALS.get(case.cls, {}).items():
        try:
            rival = make(case, jax.random.key(0))
        except ImportError:
            found[name] = None
        else:
            found[name] = timed(in_single_precision(rival), case, seconds)
    return {"libraries": found}


def in_single_precision(model: Any) -> Any:
    """Return a model whose weights may have been drawn in 64 bits in 32."""

    def single(leaf: Any) -> Any:
        if not eqx.is_inexact_array(leaf):
            return leaf
        return leaf.astype(jnp.complex64 if jnp.iscomplexobj(leaf) else jnp.float32)

    return jax.tree.map(single, model)


def timed(model: Any, case: Case, seconds: float) -> dict[str, Any]:
    """The step of a model in JAX."""
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3))
    shape = (case.batch, case.channels, *case.shape)
    examples = jax.random.normal(jax.random.key(1), (2, *shape), jnp.float32)
    parts = examples.reshape(2, case.accumulate, -1, *shape[1:]).swapaxes(0, 1)
    arrays, static = eqx.partition(model, eqx.is_inexact_array)

    def loss(arrays: Any, part: Any) -> Any:
        x, y = part
        predicted = jax.vmap(eqx.combine(arrays, static))(x)
        return jnp.mean(jax.vmap(training.relative_l2)(predicted, y))

    def summed(arrays: Any) -> Any:
        def add(total: Any, part: Any) -> Any:
            return jax.tree.map(jnp.add, total, jax.grad(loss)(arrays, part)), None

        if case.accumulate == 1:
            return jax.grad(loss)(arrays, parts[0])
        return jax.lax.scan(add, jax.tree.map(jnp.zeros_like, arrays), parts)[0]

    @jax.jit
    def step(arrays: Any, moments: Any) -> Any:
        gradient = summed(arrays)
        updates, moments = optimizer.update(gradient, moments)
        return eqx.apply_updates(arrays, updates), moments

    state = arrays, optimizer.init(arrays)
    start = time.perf_counter()
    compiled = jax.jit(step, donate_argnums=(0, 1)).lower(*state).compile()
    compile_seconds = time.perf_counter() - start
    times: list[float] = []
    while sum(times) < seconds or len(times) < 3:
        start = time.perf_counter()
        state = jax.block_until_ready(compiled(*state))
        times.append(time.perf_counter() - start)
    memory = compiled.memory_analysis()
    assert memory is not None
    return {
        "parameters": training.num_parameters(model),
        "per_sample": min(times) / case.batch,
        "compile": compile_seconds,
        "temporary_bytes": memory.temp_size_in_bytes,
    }


def torch(case: Case, seconds: float) -> dict[str, Any] | None:
    """That of PyTorch, None where there is none."""
    python = os.environ.get("KRYLAX_TORCH_PYTHON")
    if python is None:
        print("no row of PyTorch: KRYLAX_TORCH_PYTHON names no Python", flush=True)
        return None
    request = {
        "model": case.cls.__name__,
        "channels": case.channels,
        "shape": case.shape,
        "batch": case.batch,
        "seconds": seconds,
        "threads": len(os.sched_getaffinity(0)),
        **case.arguments,
    }
    command = [python, str(WORKER), json.dumps(request)]
    kept = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
    done = subprocess.run(command, env=kept, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def markdown(found: dict[str, Any]) -> str:
    """A line per model and library."""
    header = [
        "model",
        "library",
        "parameters",
        "ms per sample",
        "times that of krylax",
        "compile, s",
        "memory, MB",
    ]
    lines = []
    for name, part in found.items():
        rows = part["libraries"]
        ours = rows["krylax"]["per_sample"]
        for library, row in rows.items():
            if row is None:
                lines.append([name, library, "not installed", *[""] * 4])
                continue
            lines.append(
                [
                    name,
                    library,
                    str(row["parameters"]),
                    number(1e3 * row["per_sample"]),
                    number(row["per_sample"] / ours),
                    number(row["compile"]) if "compile" in row else "",
                    number(row["temporary_bytes"] / 1e6)
                    if "temporary_bytes" in row
                    else "",
                ]
            )
    return table(header, lines)

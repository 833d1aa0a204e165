"""The tables of the neural operators.

    python validation/neural_operators [--fast] [--only STAGE ...] [--redo]

README.md says what is compared, and how; ../stages.py how it is run.
"""

import sys
from pathlib import Path

import jax

jax.config.update("jax_enable_x64", True)

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))

# First, as it makes the modules of the benchmarks known.
import stages  # isort: skip

import channel
import darcy
import kernels
import starts
import throughput

if __name__ == "__main__":
    stages.run(
        HERE,
        {
            "throughput": throughput,
            "darcy": darcy,
            "starts": starts,
            "channel": channel,
            "kernels": kernels,
        },
    )

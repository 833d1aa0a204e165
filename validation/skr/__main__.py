"""The tables of Sorting Krylov Recycling, measured again.

    python validation/skr [--fast] [--only STAGE ...] [--redo] [--out FOLDER]

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

import chunks
import fastest
import orders
import preconditioners
from rivals import petsc

if __name__ == "__main__":
    stages.run(
        HERE,
        {
            "preconditioners": preconditioners,
            "orders": orders,
            "chunks": chunks,
            "fastest": fastest,
        },
        lambda: {"PETSc": petsc.version()},
    )

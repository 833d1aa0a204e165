"""Measure a case: rows take turns, medians are reported, solutions are verified."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from cases import Case
from jaxtyping import Float
from rivals.row import Prepared, Problem, Row, Sample

FAST_ROUNDS = 1
# Most methods stop on a residual that is updated, not recomputed: in float32 CG on 256²
# points ends 2 % above the tolerance. The table shows the true residual.
ALLOWED = 1.05


@dataclass
class _Entry:
    """A row while it is measured."""

    row: Row
    prepared: Prepared | None = None
    samples: list[Sample] = field(default_factory=list)
    residual: float | None = None
    status: str = "ok"

    def attempt(self, problem: Problem) -> None:
        """Run once more, preparing first; what a rival raises becomes its status."""
        try:
            if self.prepared is None:
                self.prepared = self.row.prepare(problem)
            sample = self.prepared.run()
        except ImportError:
            self.status = "not installed"
        except Exception as error:
            first_line = (str(error).splitlines() or [""])[0]
            self.status = f"failed: {type(error).__name__}: {first_line[:120]}"
        else:
            self._take(sample, problem)

    def _take(self, sample: Sample, problem: Problem) -> None:
        if not self.samples and sample.solutions is not None:
            self.residual = float(np.max(residuals(problem, sample.solutions)))
            if not np.isfinite(self.residual):
                self.status = "not finite"
            elif self.residual > ALLOWED * problem.rtol:
                self.status = "misses the tolerance"
        self.samples.append(sample._replace(solutions=None))

    def wants_more(self, budget: float) -> bool:
        """Whether it runs at all, and has not used up its share of time."""
        spent = sum(sample.setup + sample.solve for sample in self.samples)
        return (not self.samples and self.status == "ok") or (
            bool(self.samples) and spent < budget
        )

    def result(self) -> dict[str, Any]:
        """Return medians and samples, in seconds."""
        note = self.prepared.note if self.prepared else ""
        found = {
            "method": f"{self.row.method}: {note}" if note else self.row.method,
            "package": self.row.package,
            "status": self.status,
        }
        if self.prepared is None or not self.samples:
            return found
        # The first run warms up, and is dropped where there are more.
        kept = self.samples[1:] or self.samples
        totals = [sample.setup + sample.solve for sample in kept]
        return found | {
            "compile": self.prepared.compile_seconds,
            "iterations": kept[0].iterations,
            "setup": float(np.median([sample.setup for sample in kept])),
            "solve": float(np.median([sample.solve for sample in kept])),
            "total": float(np.median(totals)),
            "residual": self.residual,
            "totals": [float(f"{total:.4g}") for total in totals],
        }


def measure(case: Case, *, is_fast: bool, text: str = "") -> list[dict[str, Any]]:
    """Return the results of the problems of a case whose names hold the text."""
    chosen = case.fast_problems if is_fast else case.problems
    num_rounds = FAST_ROUNDS if is_fast else case.num_rounds
    results = []
    for make in chosen:
        problem = make()
        if text not in problem.name:
            continue
        entries = [_Entry(row) for row in case.rows]
        for _ in range(1 + num_rounds):
            for entry in entries:
                if entry.wants_more(case.budget):
                    entry.attempt(problem)
        results.append(
            {
                "problem": problem.name,
                "num_systems": len(problem.matrices),
                "rtol": problem.rtol,
                "rows": [entry.result() for entry in entries],
            }
        )
    return results


def residuals(problem: Problem, solutions: Any) -> Float[np.ndarray, " systems"]:
    """‖b − A x‖ / ‖b‖ of each system, in float64, by SciPy."""
    rhs = problem.b.reshape(len(problem.matrices), -1).astype(np.float64)
    norms = [
        np.linalg.norm(b - matrix @ x.astype(np.float64)) / np.linalg.norm(b)
        for matrix, b, x in zip(problem.matrices, rhs, solutions, strict=True)
    ]
    return np.array(norms)

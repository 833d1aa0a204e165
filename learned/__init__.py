"""Learned operators: preconditioners, Gaussian-process solvers, neural operators.

Empty so far. What will live here are operators like any other: a learned preconditioner
goes into `solve(preconditioner=...)`, a prediction goes in as `x0`.
"""

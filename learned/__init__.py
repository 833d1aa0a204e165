"""Learned operators: preconditioners, Gaussian-process solvers, neural operators.

Empty so far. Learned operators will be operators like any other: a preconditioner is
passed as `solve(preconditioner=...)`, a prediction of the solution as `x0`.
"""

"""Sequences of related systems: in which order, and what goes from one to the next."""

from ._greedy_order import greedy_order as greedy_order
from ._greedy_order import path_length as path_length
from ._solve_sequence import solve_sequence as solve_sequence

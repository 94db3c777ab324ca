"""The parts of ``gpu.py``.

A module a part: ``run(setup)`` yields the rows of its table one by one, so that a part that is stopped keeps what it
had. :mod:`gpu_parts.runner` says in which order they run, how long, and what they need.
"""

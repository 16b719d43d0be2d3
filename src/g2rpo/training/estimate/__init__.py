"""Estimates memory and time of a run from shapes and settings, without loading weights.

`shape.py` reads the sizes of the model, `workload.py` those of a step, `machine.py` the device.
`memory.py` (with `activations.py`) and `seconds.py` combine them; `total.py` says whether it fits.
"""

"""How an update weighs the gradients of its tasks, one choice per file.

Every choice satisfies `weighting.TaskWeighting`: inner products of the tasks' gradients -> one
weight per task. `training/task_gradients.py` computes the gradients, and adds them with these
weights. Sizes are comparable: `pcgrad` equals `sum` where no tasks conflict, `cagrad` with a radius
of 0, and `aligned_mtl` for orthogonal gradients of one length.
"""

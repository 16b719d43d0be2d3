"""The processes of one run: who they are, how they meet, and how they end together.

torchrun, SLURM's srun and Lightning's own launcher start one process per device. Each process finds
its rank in the environment (`member.py`). All ranks meet in a key-value store of rank 0, which
tells them the run folder (`meeting.py`), and stay connected to rank 0 until they leave: a rank that
dies, raises or hangs ends all others (`monitor.py` on each rank, `coordinator.py` on rank 0). Ranks
mark their progress (`marks.py`), and a rank without progress is hanging.
"""

#!/usr/bin/env bash
# One run on several nodes under SLURM, a process for each GPU:
#
#     sbatch --nodes=2 --ntasks-per-node=4 --gpus-per-node=4 --time=12:00:00 launch/slurm.sh \
#         --config=configs/cyclegan.py:folder --config.data.path=DIR --config.data.batch_size=8
#
# The words after the script are those of `python -m jaxgan.main`. Submit from the checkout; it, the
# data and the run's folder (--workdir) must lie on a file system that all nodes share. Two minutes
# before the time is over the run gets SIGTERM and saves; the same submission goes on, also with
# another number of nodes. PYTHON names another interpreter than .venv's.
#SBATCH --job-name=jaxgan
#SBATCH --output=jaxgan-%j.txt
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

python=${PYTHON:-.venv/bin/python}
exec srun --kill-on-bad-exit=1 --label "$python" -m jaxgan.main "$@" --distributed

#!/usr/bin/env bash
# The runs of a study under SLURM, each a task of an array by itself:
#
#     python -m jaxgan.ablate --study=studies/ring_losses.py --print_commands > commands.txt
#     sbatch --array=1-$(wc -l < commands.txt) --cpus-per-task=4 --time=4:00:00 \
#         launch/slurm_array.sh commands.txt
#     python -m jaxgan.report runs/ring_losses
#
# Submit from the checkout; it, the data and the study's folder must lie on a file system that all
# nodes share. Two minutes before the time is over a run gets SIGTERM, saves and is queued again. A
# run that another task has is left to it: its folder is locked. All runs of a study need the same
# number of cores (--cpus-per-task), or of GPUs. PYTHON names another interpreter than .venv's.
#SBATCH --job-name=jaxgan-study
#SBATCH --output=jaxgan-%A-%a.txt
#SBATCH --signal=TERM@120
#SBATCH --requeue
#SBATCH --open-mode=append
set -euo pipefail

if (($# != 1)) || [[ ! -f "$1" ]]; then
  echo "error: give the file of commands: sbatch --array=1-N launch/slurm_array.sh commands.txt" >&2
  exit 2
fi
line=
if ((${SLURM_ARRAY_TASK_ID:-0} > 0)); then
  line=$(sed -n "${SLURM_ARRAY_TASK_ID}p" "$1")
fi
if [[ "$line" != "python -m jaxgan.main "* ]]; then
  there=$(wc -l < "$1")
  echo "error: $1 has no command in line ${SLURM_ARRAY_TASK_ID:-0}; submit with --array=1-$there" >&2
  exit 2
fi
eval "words=($line)" # as they were quoted for a shell
code=0
srun --ntasks=1 "${PYTHON:-.venv/bin/python}" "${words[@]:1}" || code=$?
if ((code == 143)) && [[ -n "${SLURM_ARRAY_JOB_ID:-}" ]]; then # saved before the time was over
  scontrol requeue "${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
fi
exit "$code"

#!/usr/bin/env bash
# One run on all workers of a Cloud TPU VM, a process for each worker:
#
#     launch/tpu_vm.sh NAME ZONE --config=configs/cyclegan.py --config.data.batch_size=8
#
# or the runs of a study, one after another:
#
#     python -m jaxgan.ablate --study=studies/ring_losses.py --workdir=SHARED --print_commands > commands.txt
#     launch/tpu_vm.sh NAME ZONE --commands=commands.txt
#
# The words after ZONE are those of `python -m jaxgan.main`. It needs gcloud here, and on each worker
# a checkout in ~/jaxgan with its .venv (FOLDER and PYTHON name others):
#
#     gcloud compute tpus tpu-vm ssh NAME --zone=ZONE --worker=all --command="
#         git clone REPOSITORY jaxgan && cd jaxgan && make .venv/.installed EXTRAS=tpu"
#
# A VM of one worker keeps its run on its own disk. With several workers --workdir must lie on a
# disk that all of them mount (NFS, Filestore). A worker that is preempted ends the run at its last
# checkpoint; the same command goes on, also on another number of workers. Ctrl-C ends the connection,
# not the run, which saves and ends by
#
#     gcloud compute tpus tpu-vm ssh NAME --zone=ZONE --worker=all --command="pkill -TERM -f jaxgan.main"
set -euo pipefail

if (($# < 3)) || [[ "$1" == -* || "$2" == -* ]]; then
  echo "error: which TPU VM, and where? try: launch/tpu_vm.sh my-tpu us-central2-b --config=configs/cyclegan.py" >&2
  exit 2
fi
name=$1 zone=$2
shift 2
if ! command -v gcloud >/dev/null; then
  echo "error: gcloud isn't installed; see https://cloud.google.com/sdk/docs/install" >&2
  exit 2
fi

if [[ "$1" == --commands=* ]]; then
  file=${1#--commands=}
  if (($# > 1)) || [[ ! -f "$file" ]]; then
    echo "error: $1 takes a file of commands that is there, and nothing after it" >&2
    exit 2
  fi
  failed=0
  while IFS= read -r line <&3; do
    eval "words=($line)" # as they were quoted for a shell
    "$0" "$name" "$zone" "${words[@]:3}" || failed=$?
  done 3<"$file"
  exit "$failed"
fi

words=$(printf '%q ' "$@")
exec gcloud compute tpus tpu-vm ssh "$name" --zone="$zone" --worker=all --command="\
cd ${FOLDER:-jaxgan} && ${PYTHON:-.venv/bin/python} -m jaxgan.main $words--distributed"

#!/usr/bin/env bash
# N processes on this machine that train one run together:
#
#     launch/local.sh N --config=configs/cyclegan.py --config.data.batch_size=N
#
# The words after N are those of `python -m jaxgan.main`. PYTHON names another interpreter.
exec "${PYTHON:-python}" -m jaxgan.launch "$@"

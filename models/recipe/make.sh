#!/bin/sh
# The whole recipe: corpus, training, export, evaluation, catalogue, sums.
#   pip install -r requirements.txt && sh make.sh
# It resumes from work/checkpoint.pt where there is one. Golden vectors are made by
# ../golden.mjs afterwards, since they need llama.cpp; then run publish.py again.
set -eu
cd "$(dirname "$0")"
python="${PYTHON:-python3}"
work="${WORK:-work}"
"$python" train.py --work "$work"
"$python" export.py --work "$work"
cp "$work/training.log" ../training.log
"$python" evaluate.py
"$python" publish.py
"$python" check.py

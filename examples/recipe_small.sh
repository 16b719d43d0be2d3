#!/usr/bin/env bash
# The paper's recipe from end to end on two CPU processes: two rollout batches of a small random model with the structure of Qwen3-VL-8B.
#     make test-vllm                                        # once: sets up .venv-vllm
#     PATH=.venv-vllm/bin:$PATH bash examples/recipe_small.sh [FOLDER] [onethinker.json]
# Every line of conf/experiment/openvlthinker_v2.yaml is active; only widths and counts are smaller. Further arguments are overrides.
set -euo pipefail
cd "$(dirname "$0")/.."
folder=${1:-outputs/recipe_small}
rows=${2:-}
shift $(($# < 2 ? $# : 2))
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} VLLM_CPU_KVCACHE_SPACE=${VLLM_CPU_KVCACHE_SPACE:-1}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)

python perf/recipe_small.py "$folder" ${rows:+--rows "$rows"}
python train.py experiment=openvlthinker_v2 hydra.run.dir="$folder/run" \
    model.path="$folder/model" data.root="$folder" data.files=rows.json \
    trainer.accelerator=cpu trainer.devices=2 trainer.max_steps=8 \
    batch.prompts_per_step=8 batch.micro_batch_tokens=1500 \
    rollout.max_new_tokens=16 rollout.max_model_len=2048 rollout.max_num_seqs=32 \
    data.loading.workers=2 data.loading.max_prompt_tokens=1500 \
    callbacks.checkpoint.every_n_train_steps=4 heldout=few "$@"

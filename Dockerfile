# g2rpo with vLLM for GPUs:  docker build -t g2rpo .
# docker run --gpus all --shm-size 32g -v /data:/data -v "$PWD/outputs:/g2rpo/outputs" g2rpo train experiment=qwen3_vl_8b_full data.root=/data/onethinker
# The development image has the CUDA compiler, which vLLM and FlexAttention use for kernels at run time.
FROM nvidia/cuda:13.0.1-devel-ubuntu24.04

RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 python3-dev python3-venv git \
    && rm -rf /var/lib/apt/lists/*
ENV VIRTUAL_ENV=/venv PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1
RUN python3 -m venv /venv

WORKDIR /g2rpo
COPY pyproject.toml README.md LICENSE *.py ./
COPY constraints constraints
COPY src src
COPY conf conf
COPY sweeps sweeps
COPY examples examples
RUN pip install -c constraints/gpu.txt -e ".[vllm,lora]"

ENTRYPOINT ["g2rpo"]
CMD ["--help"]

"""python estimate.py model=qwen3_vl_8b trainer=ddp estimate.gib=80"""

from omegaconf import DictConfig

from g2rpo.cli import estimate, program


@program("estimate")
def main(cfg: DictConfig) -> float:
    return estimate(cfg)


if __name__ == "__main__":
    main()

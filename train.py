"""python train.py task_mix=generalist shaping=entropy_bounded"""

from omegaconf import DictConfig

from g2rpo.cli import program, train


@program("config")
def main(cfg: DictConfig) -> float:
    return train(cfg)


if __name__ == "__main__":
    main()

"""python train.py task_mix=generalist shaping=entropy_bounded"""

import hydra
from omegaconf import DictConfig

from g2rpo.cli import CONF, train


@hydra.main(config_path=CONF, config_name="config", version_base="1.3")
def main(cfg: DictConfig) -> float:
    return train(cfg)


if __name__ == "__main__":
    main()

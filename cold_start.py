"""python cold_start.py"""

import hydra
from omegaconf import DictConfig

from g2rpo.cli import CONF, cold_start


@hydra.main(config_path=CONF, config_name="cold_start", version_base="1.3")
def main(cfg: DictConfig) -> None:
    cold_start(cfg)


if __name__ == "__main__":
    main()

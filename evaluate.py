"""python evaluate.py model=folder model.path=<checkpoint folder>"""

import hydra
from omegaconf import DictConfig

from g2rpo.cli import CONF, evaluate


@hydra.main(config_path=CONF, config_name="config", version_base="1.3")
def main(cfg: DictConfig) -> float:
    return evaluate(cfg)


if __name__ == "__main__":
    main()

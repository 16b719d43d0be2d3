"""python cold_start.py"""

from omegaconf import DictConfig

from g2rpo.cli import cold_start, program


@program("cold_start")
def main(cfg: DictConfig) -> None:
    cold_start(cfg)


if __name__ == "__main__":
    main()

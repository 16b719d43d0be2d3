"""python pilot.py model=folder model.path=<checkpoint folder>"""

from omegaconf import DictConfig

from g2rpo.cli import pilot, program


@program("pilot")
def main(cfg: DictConfig) -> float:
    return pilot(cfg)


if __name__ == "__main__":
    main()

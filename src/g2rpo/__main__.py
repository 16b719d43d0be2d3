"""`python -m g2rpo`: the same as the console script `g2rpo`."""

from g2rpo.cli.command import main

if __name__ == "__main__":
    main()

"""Runs `python -m depthfinder`, for torchrun and wherever scripts are not on the path."""

from depthfinder.cli.app import main

if __name__ == "__main__":
    main()

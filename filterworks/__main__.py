"""``python -m filterworks`` is the command line."""

from filterworks.cli import main

if __name__ == "__main__":
    main()

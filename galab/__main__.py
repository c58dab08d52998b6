"""``python -m galab`` is the command ``galab``."""

from galab.cli import main

if __name__ == "__main__":
    main()

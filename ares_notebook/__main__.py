"""``python -m ares_notebook`` is ``ares-notebook``."""

from ares_notebook.cli import main

if __name__ == "__main__":
    main()

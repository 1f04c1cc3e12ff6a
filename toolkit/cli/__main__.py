"""``python -m toolkit.cli``: the command line without the console script."""

from toolkit.cli.main import main

main()

"""`python -m emr COMMAND`."""

from emr.cli import main

main()

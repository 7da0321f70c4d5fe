"""`python -m dbeta.cli` is `dbeta`."""

from dbeta.cli import main

main()

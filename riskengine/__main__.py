"""`python -m riskengine`: the same as the console script."""

from riskengine.cli.main import main

main()

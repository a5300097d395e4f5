"""The command line: typer for what is asked, rich for what is shown.

INVARIANT: modules of commands import nothing heavy at the top (numba, xgboost, pyarrow, grpc and pydantic come inside the
commands), so that every ``--help`` answers at once. What works (`workspace`, `requests`, `loading`, `demo.*`) is apart from
what shows (`console`, `decisions`, `demo.screen`).
"""

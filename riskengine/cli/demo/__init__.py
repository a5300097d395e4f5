"""The demo: a small world, the whole engine, and fraud as it unfolds.

`story` decides what happens, `prepare` builds a folder and teaches the engine the past, `running` starts the real server,
`traffic` sends the live stream, `tally` counts, `screen` shows; `command` puts them in order.
"""

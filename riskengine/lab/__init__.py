"""The workshop: simulated and imported histories, training, evaluation. Offline; uses the engine, never the server."""

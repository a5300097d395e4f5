"""Generated from protos/riskengine/journal/v1 by `make protos`."""

"""Generated from protos/riskengine/v1 by `make protos`."""

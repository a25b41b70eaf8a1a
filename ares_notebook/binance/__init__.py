"""The exchange: its archive, its listing and its REST API. The only layer that knows HTTP."""

"""How the exchange speaks: archive, listing and REST. The only layer that knows HTTP."""

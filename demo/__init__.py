"""The demo of `make demo`: a lake from a stand-in exchange that misbehaves, without network."""

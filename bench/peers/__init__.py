"""Scripts that run in the peers' own environments, each by itself."""

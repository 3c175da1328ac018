"""A stand-in exchange on loopback: archive and REST, recorded and made days, faults on demand."""

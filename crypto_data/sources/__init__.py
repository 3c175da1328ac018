"""Places klines come from: the protocol, the exchange's archive and REST API, and the failover over them."""

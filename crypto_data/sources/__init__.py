"""Places klines come from: archive, REST, and the failover chain over them."""

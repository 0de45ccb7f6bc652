"""What the integration tests stand on: real servers, the real binary, and a client that speaks raw protocol 3."""

"""What stands between HTTP and a session: bodies, requests, leases, refusals, and who may ask at all."""

"""Ray Serve deployments: where a decision becomes an answer."""

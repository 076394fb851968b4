"""Load on a running endpoint, over HTTP as any client would send it, and what came of it."""

"""What routers are trained with: labels, heads, clusterings and measures of novelty."""

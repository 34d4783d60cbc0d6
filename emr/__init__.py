"""The AWS side: a bucket, a cluster, the data there and the results back. `lib/` never imports this."""

"""Accepted events sent onwards, to where a platform reads them: Kafka, or a stream of Redis."""

"""Archives of recordings: batches that can be resumed, tables of results, indexes."""

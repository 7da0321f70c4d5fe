"""Archives of recordings: resumable jobs, tables of results, search indexes."""

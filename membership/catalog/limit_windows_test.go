package catalog_test

const canLimitFileSize = false

func limitFileSize(uint64) {}

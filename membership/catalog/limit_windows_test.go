package catalog_test

const canLimitFileSize, canLimitFiles = false, false

func limitFileSize(uint64) {}

func limitFiles(uint64) {}

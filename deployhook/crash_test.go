package deployhook_test

const childVariable = "PORTICO_TEST_CHILD"

func child() int { return 2 }

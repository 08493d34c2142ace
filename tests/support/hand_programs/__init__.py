"""Programs that either engine runs for the tests: they import nothing that real Caffe's Python lacks."""

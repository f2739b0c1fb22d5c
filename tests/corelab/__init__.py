"""What the tests of the compiled core share: memory, records, an independent model of the snapshot, other processes."""

"""What tests and benchmarks break things with: bad files, hostile model folders, faults in data and in trainings."""

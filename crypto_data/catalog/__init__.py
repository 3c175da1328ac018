"""The configuration: values, the text they are read from, and the faults a person is told."""

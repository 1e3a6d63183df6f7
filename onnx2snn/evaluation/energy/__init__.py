"""Whether a spiking network needs less energy than the ANN it came from: counted events, what each
costs under three published models, and the verdict with its condition."""

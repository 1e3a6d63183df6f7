"""Fine-tuning with surrogate gradients: what is trained, by which loss, and what is saved."""

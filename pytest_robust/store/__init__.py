"""The artifact store: content-addressed files of weights and adversarial sets, and the fingerprints that name them."""

"""Export of trained models: folders for `nsc`, and graphs for other machines."""

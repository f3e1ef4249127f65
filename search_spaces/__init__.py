"""Study files that come with the package; data only. `tune-qat list` names them."""

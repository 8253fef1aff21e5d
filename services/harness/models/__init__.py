"""Model endpoints: `interface` says what a model is, `registry` lists the kinds, one module each."""

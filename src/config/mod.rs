//! Sources (file, environment) → raw values → checked `Config`, from one table of keys.

//! Log lines: formats, levels, scrubbing, console and file.

//! `scripts/bench`: the budgets of the design, measured in one run, beside peers where there are some.
//!
//! The cluster is served by the embedded API server of this process, which is built with optimisation; the program and
//! its peers are processes of their own, measured from outside through /proc.

mod chart;
mod crowd;
mod measure;
mod process;
#[path = "../support/mod.rs"]
mod support;
mod sync;
mod table;
mod throughput;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::{fs, io};

use measure::Measured;

/// The programs that are measured.
pub struct Programs {
    /// The static release build of the program.
    pub ours: PathBuf,
    /// The directory of the Go peers.
    pub peers: PathBuf,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [ours, peers, output, groups @ ..] = &arguments[..] else {
        eprintln!("usage: bench PROGRAM PEERS OUTPUT [GROUP …]");
        return ExitCode::from(2);
    };
    let programs = Programs { ours: ours.into(), peers: peers.into() };
    match measure::groups(&programs, groups) {
        Ok(result) => {
            println!("\n{}", table::text(&result.rows));
            // Only a whole run is worth keeping.
            if groups.is_empty()
                && let Err(error) = write(&result, Path::new(output))
            {
                eprintln!("scripts/bench: {output}: {error}");
                return ExitCode::FAILURE;
            }
            ExitCode::from(u8::from(!table::all_pass(&result.rows)))
        }
        Err(why) => {
            eprintln!("scripts/bench: {why}");
            ExitCode::FAILURE
        }
    }
}

fn write(result: &Measured, output: &Path) -> io::Result<()> {
    fs::write(output.join("benchmarks.md"), result.markdown())?;
    match &result.chart {
        Some(chart) => fs::write(output.join("growth.svg"), chart),
        None => Ok(()),
    }
}

//! The embedded API server as a process of its own, for `curl` and for programs in other languages.
//!
//! `cargo run --example api-server [PERCENT]` fills it with that part of 1,000 nodes, 10,000 pods and 2,000 services,
//! prints how to reach it, and serves until its standard input ends.

#[path = "mod.rs"]
mod support;

use std::io::Read;

use support::api_server::Server;
use support::api_server::population::Size;
use support::scratch::Scratch;

fn main() {
    let percent = std::env::args().nth(1).and_then(|text| text.parse().ok()).unwrap_or(1);
    let server = Server::start();
    server.populate(Size::percent(percent));
    let directory = Scratch::new();
    let kubeconfig = server.write_kubeconfig(directory.path());
    println!("url        {}", server.url());
    println!("kubeconfig {}", kubeconfig.display());
    println!("authority  {}", directory.path().join("ca.crt").display());
    println!("token      {}", Server::TOKEN);
    // Whatever is typed is of no interest, only the end.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

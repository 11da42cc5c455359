//! Which program this is, and its exit code.

fn main() {
    println!("Cluster Agent {}", env!("CARGO_PKG_VERSION"));
}

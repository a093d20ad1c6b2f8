//! Rebuilds the crate when a pack changes: the packs are part of the program.
fn main() {
    println!("cargo:rerun-if-changed=packs");
}

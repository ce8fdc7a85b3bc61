//! Tells the linker that Node itself brings what this library calls.

fn main() {
    napi_build::setup();
}

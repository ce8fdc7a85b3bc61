//! Tells the linker that Node provides the functions that this library calls.

fn main() {
    napi_build::setup();
}

//! Packs the vocabularies of the feature `tokens` for the program: as tokens in the order of their ranks, compressed. tiktoken-rs has them as
//! base64 text, which takes four times the room.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "tokens")]
    pack();
}

#[cfg(feature = "tokens")]
fn pack() {
    let folder = std::path::PathBuf::from(std::env::var_os("OUT_DIR").expect("cargo sets it"));
    for (name, vocabulary, tokens) in
        [("o200k_base", tiktoken_rs::o200k_base(), 199_998), ("cl100k_base", tiktoken_rs::cl100k_base(), 100_256)]
    {
        let vocabulary = vocabulary.expect("a vocabulary");
        let mut packed = Vec::new();
        for rank in 0..tokens {
            let token = vocabulary.decode_bytes(&[rank]).expect("every rank has a token");
            packed.push(u8::try_from(token.len()).expect("a token of less than 256 bytes"));
            packed.extend(token);
        }
        let compressed = zstd::bulk::compress(&packed, 15).expect("memory");
        std::fs::write(folder.join(format!("{name}.zst")), compressed).expect("cargo's own folder");
    }
}

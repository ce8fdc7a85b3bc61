//! Downloads DynamoDB Local once with npm, verifies it, and stores it outside the checkout.

use std::path::{Path, PathBuf};

use crate::Result;
use crate::cache::{cache, kept};
use crate::npm::Package;

/// An npm package that contains AWS's DynamoDB Local 1.25.1 as AWS publishes it.
const PACKAGE: Package = Package {
    package: "amplify-dynamodb-simulator@2.9.30",
    sha512: "xTeeRLvzEfqyd5lh3bH4c0kHvSHHmmhD5ZDsHFKAQ5g2Zl6JqlFdutaQhCLHzxEp6Ry1o7TB6niIoXuQAnSewQ==",
    paths: &["package/emulator"],
    strip: 2,
};

/// The folder that contains `DynamoDBLocal.jar`; downloads it if it is missing.
pub fn folder() -> Result<PathBuf> {
    folder_in(&cache()?, |folder| PACKAGE.unpack_into(folder))
}

fn folder_in(cache: &Path, make: impl FnOnce(&Path) -> Result) -> Result<PathBuf> {
    let folder = kept(cache, &format!("dynamodb-local-{}", PACKAGE.short()?), make)?;
    if folder.join("DynamoDBLocal.jar").is_file() {
        return Ok(folder);
    }
    Err(format!("the folder {} is damaged (no DynamoDBLocal.jar); remove it and try again.", folder.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_folder_is_reused_and_a_damaged_one_is_named() {
        let cache = tempfile::tempdir().expect("a folder");
        let no_fetch = |_: &Path| -> Result { panic!("fetched") };
        let folder = cache.path().join("dynamodb-local-c5379e44bbf311fa");
        std::fs::create_dir(&folder).expect("a folder");
        let error = folder_in(cache.path(), no_fetch).expect_err("without its jar");
        assert!(error.contains("damaged") && error.contains("dynamodb-local-"), "{error}");
        std::fs::write(folder.join("DynamoDBLocal.jar"), b"").expect("a file");
        assert_eq!(folder_in(cache.path(), no_fetch), Ok(folder));
    }

    #[test]
    fn failed_fetch_leaves_nothing() {
        let cache = tempfile::tempdir().expect("a folder");
        assert_eq!(folder_in(cache.path(), |_| Err("no network".into())), Err("no network".to_owned()));
        assert_eq!(std::fs::read_dir(cache.path()).expect("the cache").count(), 0);
    }
}

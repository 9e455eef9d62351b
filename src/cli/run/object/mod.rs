//! A destination that is an object in a store: `s3://BUCKET/KEY`, `gs://…`, `az://…`.
//!
//! Knows how such a destination is written, and joins the modules below: sizes of parts (`parts`), the store
//! (`store`), the upload (`upload`), the task that does it (`task`) and makes an object of it (`publication`), its
//! input (`feed`), and its record in case this process is killed (`record`, `left`). Invariant: the object is not
//! visible before the upload is completed, after all of it has come and the program has succeeded.

#[cfg(not(feature = "object-store"))]
mod absent;
mod feed;
#[cfg(feature = "object-store")]
mod guarded;
#[cfg(feature = "object-store")]
mod left;
mod parts;
#[cfg(feature = "object-store")]
mod publication;
#[cfg(feature = "object-store")]
mod record;
#[cfg(feature = "object-store")]
mod store;
#[cfg(feature = "object-store")]
mod task;
#[cfg(feature = "object-store")]
mod upload;

use std::ffi::{OsStr, OsString};
use std::fmt;

use fifofs::{Error, Result};

#[cfg(not(feature = "object-store"))]
pub(super) use absent::Upload;
#[cfg(not(feature = "object-store"))]
pub(in crate::cli) use absent::left;
pub(super) use feed::{Feed, Stopped, copy};
#[cfg(feature = "object-store")]
pub(in crate::cli) use left::left;
#[cfg(feature = "object-store")]
pub(super) use upload::Upload;

/// The kind of store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scheme {
    S3,
    Gs,
    Az,
}

const SCHEMES: [(&str, Scheme); 3] = [
    ("s3://", Scheme::S3),
    ("gs://", Scheme::Gs),
    ("az://", Scheme::Az),
];

/// The address of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    pub(super) scheme: Scheme,
    pub(super) bucket: String,
    pub(super) key: String,
    /// As it was written.
    text: OsString,
}

/// What became of an object.
#[derive(Debug)]
#[cfg_attr(not(feature = "object-store"), allow(dead_code))]
pub(super) enum Fate {
    /// It exists, and is whole.
    Published,
    /// It was not wanted any more, and does not exist.
    Removed,
    /// It does not exist.
    Failed(Error),
    /// It may exist.
    Unknown(Error),
}

impl Address {
    /// Parses an address; none if it does not begin with the scheme of a store.
    pub(super) fn parse(text: &OsStr) -> Result<Option<Self>> {
        let bytes = text.as_encoded_bytes();
        let is_one = |(prefix, _): &&(&str, Scheme)| bytes.starts_with(prefix.as_bytes());
        let Some((prefix, scheme)) = SCHEMES.iter().find(is_one) else {
            return Ok(None);
        };
        let wrong = |why: &str| {
            Error::usage(format!(
                "invalid destination '{}': {why}; write {prefix}BUCKET/KEY",
                text.display()
            ))
        };
        let rest = text.to_str().ok_or_else(|| wrong("it is not UTF-8"))?;
        let (bucket, key) = rest[prefix.len()..]
            .split_once('/')
            .unwrap_or((&rest[prefix.len()..], ""));
        if bucket.is_empty() {
            return Err(wrong("it names no bucket"));
        }
        if key.is_empty() || key.ends_with('/') {
            return Err(wrong("it has no key, which is the name of the object"));
        }
        if key
            .split('/')
            .any(|part| part.is_empty() || part == "." || part == "..")
        {
            return Err(wrong("a part of its key is empty, . or .."));
        }
        if key.chars().any(|letter| letter.is_ascii_control()) {
            return Err(wrong("its key has a control character"));
        }
        if !cfg!(feature = "object-store") {
            return Err(left_out(text));
        }
        Ok(Some(Address {
            scheme: *scheme,
            bucket: bucket.into(),
            key: key.into(),
            text: text.into(),
        }))
    }

    fn failed(&self, why: impl Into<String>) -> Error {
        let why = std::io::Error::other(why.into());
        Error::io("write to", self.to_string(), why)
    }
}

/// The error for builds without the feature.
fn left_out(text: &OsStr) -> Error {
    Error::usage(format!(
        "'{}' is in an object store, and this fifofs was built without them; use a package without \
         `small` in its name, or `cargo install --path . --locked --features object-store`",
        text.display()
    ))
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.text.display().fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<Option<Address>> {
        Address::parse(OsStr::new(text))
    }

    #[test]
    fn malformed_addresses_are_refused_and_paths_are_no_addresses() {
        for (text, why) in [
            ("s3://", "names no bucket"),
            ("s3:///key", "names no bucket"),
            ("s3://bucket", "has no key"),
            ("gs://bucket/", "has no key"),
            ("az://bucket/a/", "has no key"),
            ("s3://bucket/a/../b", "is empty, . or .."),
            ("s3://bucket/..", "is empty, . or .."),
            ("s3://bucket//a", "is empty, . or .."),
            ("s3://bucket/a\nb", "control character"),
        ] {
            let said = parsed(text).expect_err(text).to_string();
            assert!(
                said.contains(why) && said.contains("://BUCKET/KEY"),
                "{said}"
            );
        }
        for path in ["s3:/a", "./s3://b/k", "s3", "file://x"] {
            assert_eq!(parsed(path).expect(path), None);
        }
    }

    #[cfg(feature = "object-store")]
    #[test]
    fn an_object_has_a_bucket_and_a_key() {
        let address = parsed("gs://b/x y/é.zip").expect("one").expect("one");
        assert_eq!(
            (address.bucket.as_str(), address.key.as_str()),
            ("b", "x y/é.zip")
        );
        assert_eq!(address.scheme, Scheme::Gs);
        assert_eq!(address.to_string(), "gs://b/x y/é.zip");
    }

    #[cfg(not(feature = "object-store"))]
    #[test]
    fn a_build_without_stores_says_how_to_get_them() {
        let said = parsed("s3://b/k").expect_err("refused").to_string();
        assert!(said.contains("--features object-store"), "{said}");
    }
}

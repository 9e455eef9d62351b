//! `fifofs doctor s3://BUCKET`: uploads that were unfinished when a fifofs on this machine was
//! killed.
//!
//! Knows what to print; `record` knows which uploads there are.

use std::ffi::OsStr;

use fifofs::{Error, Result};

use super::{Address, SCHEMES, record, upload};
use crate::cli::text::Page;
use crate::cli::{Ended, print};

/// Lists them, or removes them.
pub(in crate::cli) fn left(bucket: &OsStr, removes: bool) -> Result<Ended> {
    let prefix = prefix(bucket)?;
    let mut page = Page::default();
    let found = record::unfinished(&prefix)?;
    for one in &found {
        let address = &one.address;
        let since = one.begun.map(humantime::format_rfc3339_seconds);
        let since = since.map_or_else(String::new, |since| format!(", begun {since}"));
        if removes {
            if let Some(parsed) = Address::parse(OsStr::new(address))? {
                upload::remove(&parsed, one.id.clone())?;
            }
            one.forget();
            page.line(format_args!(
                "removed: upload {} of {address}{since}",
                one.id
            ));
        } else {
            page.line(format_args!(
                "unfinished: upload {} of {address}{since}",
                one.id
            ));
        }
    }
    match (found.is_empty(), removes) {
        (true, _) => page.line(format_args!(
            "no upload to {prefix} is known here that was left unfinished"
        )),
        (false, true) => {}
        (false, false) => page.line(format_args!(
            "they cost money until they are removed: fifofs doctor --remove {}",
            bucket.display()
        )),
    }
    print(page.into_text())?;
    Ok(Ended::default())
}

/// The prefix of all addresses of objects in a bucket.
fn prefix(bucket: &OsStr) -> Result<String> {
    let text = bucket.to_string_lossy();
    let scheme = SCHEMES.iter().find(|(scheme, _)| text.starts_with(scheme));
    let name = scheme.map(|(scheme, _)| text[scheme.len()..].trim_end_matches('/'));
    match name {
        Some(name) if !name.is_empty() && !name.contains('/') => {
            Ok(format!("{}/", text.trim_end_matches('/')))
        }
        _ => Err(Error::usage(format!(
            "'{text}' is no bucket; write s3://BUCKET, gs://BUCKET or az://CONTAINER"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_is_one_without_a_key() {
        assert_eq!(prefix(OsStr::new("s3://b")).expect("one"), "s3://b/");
        assert_eq!(prefix(OsStr::new("gs://b/")).expect("one"), "gs://b/");
        for text in ["s3://", "b", "s3://b/key", "file://b"] {
            let said = prefix(OsStr::new(text)).expect_err(text).to_string();
            assert!(said.contains("write s3://BUCKET"), "{said}");
        }
    }
}

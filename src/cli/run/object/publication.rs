//! The request that makes an object of the sent parts, and finding out what became of it if the answer does
//! not tell.
//!
//! Knows one object; the task decides. Invariant: an object counts as published only if the store has said
//! so, or has one of the same length and the same entity tag.

use std::time::Duration;

use md5::{Digest, Md5};
use object_store::multipart::PartId;
use object_store::{MultipartId, ObjectMeta, ObjectStoreExt, PutPayload};

use super::parts::Whole;
use super::store::{Refusal, Store};

/// How long the store may take to say what it has.
const LOOK: Duration = Duration::from_secs(15);

/// An object to be published.
#[derive(Debug)]
pub(super) struct Publication {
    store: Store,
    /// The same store with short timeouts, for requests that must not take long.
    short: Store,
    id: Option<MultipartId>,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Bytes(PutPayload),
    Parts { parts: Vec<PartId>, bytes: u64 },
}

/// What the store has.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    There,
    NotThere,
    Unknown,
}

impl Publication {
    /// # Errors
    ///
    /// If a part was not sent.
    pub(super) fn new(
        (store, short): (Store, Store),
        id: Option<MultipartId>,
        whole: Option<Whole>,
        sent: Vec<Option<PartId>>,
    ) -> object_store::Result<Self> {
        let content = match whole {
            Some(Whole::Bytes(bytes)) => Some(Content::Bytes(bytes.into())),
            Some(Whole::Parts { count, bytes }) => {
                let parts: Option<Vec<PartId>> = sent.into_iter().take(count).collect();
                let parts = parts.filter(|parts| parts.len() == count && id.is_some());
                parts.map(|parts| Content::Parts { parts, bytes })
            }
            None => None,
        };
        let content = content.ok_or_else(|| object_store::Error::Generic {
            store: "fifofs",
            source: "a part was not sent".into(),
        })?;
        Ok(Publication {
            store,
            short,
            id,
            content,
        })
    }

    /// Makes the store publish it.
    pub(super) async fn publish(&self) -> object_store::Result<()> {
        let Store {
            objects,
            uploads,
            key,
        } = &self.store;
        match (&self.content, &self.id) {
            (Content::Bytes(bytes), id) => {
                if let Some(id) = id {
                    uploads.abort_multipart(key, id).await?;
                }
                objects.put(key, bytes.clone()).await?;
            }
            (Content::Parts { parts, .. }, Some(id)) => {
                uploads.complete_multipart(key, id, parts.clone()).await?;
            }
            (Content::Parts { .. }, None) => {}
        }
        Ok(())
    }

    /// What became of it after [`Publication::publish`] failed, or was cut off (then without an error); call
    /// this once the upload was removed, or does not exist any more.
    pub(super) async fn look(&self, error: Option<&object_store::Error>) -> Seen {
        if error.is_some_and(is_refusal) {
            return Seen::NotThere;
        }
        let head = self.short.objects.head(&self.short.key);
        match tokio::time::timeout(LOOK, head).await {
            Ok(Ok(found)) => self.compare(&found),
            // A request that was cut off may still take effect, except on an upload that does not exist any
            // more.
            Ok(Err(object_store::Error::NotFound { .. }))
                if error.is_some() || self.is_upload() =>
            {
                Seen::NotThere
            }
            _ => Seen::Unknown,
        }
    }

    fn is_upload(&self) -> bool {
        matches!(self.content, Content::Parts { .. })
    }

    fn compare(&self, found: &ObjectMeta) -> Seen {
        let (bytes, tag) = match &self.content {
            Content::Bytes(bytes) => {
                let mut digest = Md5::new();
                bytes.iter().for_each(|piece| digest.update(piece));
                (
                    bytes.content_length() as u64,
                    Some(hexadecimal(&digest.finalize())),
                )
            }
            Content::Parts { parts, bytes } => (*bytes, tag_of(parts)),
        };
        let theirs = found.e_tag.as_deref().map(unquoted);
        match tag {
            _ if found.size != bytes => Seen::NotThere,
            Some(tag) if theirs == Some(&tag) => Seen::There,
            // A store that encrypts has other tags; or it is an earlier object.
            _ => Seen::Unknown,
        }
    }
}

/// Whether the store refused it at the first attempt. (With more attempts an earlier one may have succeeded,
/// and only its answer was lost.)
fn is_refusal(error: &object_store::Error) -> bool {
    let was_tried_again = super::store::causes(error).contains(" retries, ");
    let refusals = [
        Refusal::NoBucket,
        Refusal::Expired,
        Refusal::NotAccepted,
        Refusal::NotAllowed,
        Refusal::OtherRegion,
        Refusal::NoCredentials,
    ];
    !was_tried_again && refusals.contains(&Refusal::of(error))
}

/// The entity tag that S3 gives to an object of these parts, if it has not encrypted them: the digest of
/// their digests, and their number.
fn tag_of(parts: &[PartId]) -> Option<String> {
    let mut digest = Md5::new();
    for part in parts {
        digest.update(digest_of(unquoted(&part.content_id))?);
    }
    Some(format!(
        "{}-{}",
        hexadecimal(&digest.finalize()),
        parts.len()
    ))
}

fn digest_of(tag: &str) -> Option<[u8; 16]> {
    let is_one = tag.len() == 32 && tag.bytes().all(|letter| letter.is_ascii_hexdigit());
    let number = u128::from_str_radix(tag, 16).ok().filter(|_| is_one)?;
    Some(number.to_be_bytes())
}

fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unquoted(tag: &str) -> &str {
    tag.trim_matches('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tag_of_parts_is_that_of_their_tags() {
        let part = |tag: &str| PartId {
            content_id: tag.into(),
        };
        // The md5 of 5 MiB of zeros, twice, and S3's tag for these two parts.
        let zeros = part("\"5f363e0e58a95f06cbe9bbc662c5dfb6\"");
        let tag = tag_of(&[zeros.clone(), zeros]);
        assert_eq!(tag.as_deref(), Some("a7d414b9133d6483d9a1c4e04e856e3b-2"));
        assert_eq!(tag_of(&[part("0x8D4BCC2E4835CD0")]), None);
        assert_eq!(tag_of(&[part("+f363e0e58a95f06cbe9bbc662c5dfb6")]), None);
    }
}

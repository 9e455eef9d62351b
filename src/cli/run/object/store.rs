//! The store of an address, as the environment configures it, and the meaning of its errors.
//!
//! Knows the crate's clients and the error texts of stores; knows nothing of the upload.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use fifofs::{Error, Result};
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::azure::{AzureConfigKey, MicrosoftAzureBuilder};
use object_store::gcp::{GoogleCloudStorageBuilder, GoogleConfigKey};
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{BackoffConfig, ClientConfigKey, ObjectStore, RetryConfig};

use super::{Address, Scheme};

/// How long a request may take, unless the environment says otherwise: enough for a part over a slow
/// line that eight parts share.
const REQUEST_TIME: &str = "10m";

/// How long a store may take to answer before the upload has begun, and after it has ended.
pub(super) const SHORT: Duration = Duration::from_secs(15);

/// How long a store may be away. The signature of a request does not stay valid for much longer.
const LONG: Duration = Duration::from_secs(3 * 60);

/// The clients that an upload uses.
#[derive(Debug, Clone)]
pub(super) struct Store {
    pub(super) objects: Arc<dyn ObjectStore>,
    pub(super) uploads: Arc<dyn Uploads>,
    pub(super) key: Path,
}

/// [`MultipartStore`], to be shown in messages.
pub(super) trait Uploads: MultipartStore + std::fmt::Debug {}

impl<T: MultipartStore + std::fmt::Debug> Uploads for T {}

/// How long requests are tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Patience {
    /// As usual: a store may be away for some minutes.
    Long,
    /// A user waits for the answer.
    Short,
}

impl Patience {
    pub(super) fn retries(self) -> RetryConfig {
        match self {
            // The crate's own backoff could use up its ten retries within two seconds.
            Patience::Long => RetryConfig {
                backoff: BackoffConfig {
                    init_backoff: Duration::from_millis(500),
                    max_backoff: SHORT,
                    base: 3.0,
                },
                max_retries: 1000,
                retry_timeout: LONG,
            },
            Patience::Short => RetryConfig {
                backoff: BackoffConfig::default(),
                max_retries: 3,
                retry_timeout: SHORT / 3,
            },
        }
    }
}

impl Store {
    /// # Errors
    ///
    /// If the environment does not say enough, or contradicts itself.
    pub(super) fn open(address: &Address, patience: Patience) -> Result<Self> {
        let failed = |error: object_store::Error| {
            if Refusal::of(&error) == Refusal::NoCertificates {
                return explain(address, &error);
            }
            let (_, credentials) = address.scheme.words();
            let error = address.failed(first_line(&error));
            error.with_remedy(format!("look at {credentials}"))
        };
        let is_set = |name| std::env::var_os(name).is_some();
        // An error means that it is installed already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let bucket = address.bucket.as_str();
        let key = Path::parse(&address.key)
            .map_err(|error| address.failed(format!("its key is none: {error}")))?;
        let (objects, uploads): (Arc<dyn ObjectStore>, Arc<dyn Uploads>) = match address.scheme {
            Scheme::S3 => {
                let mut builder = AmazonS3Builder::from_env()
                    .with_bucket_name(bucket)
                    .with_retry(patience.retries());
                let endpoints = [AmazonS3ConfigKey::S3Endpoint, AmazonS3ConfigKey::Endpoint];
                let endpoint = endpoints
                    .iter()
                    .find_map(|key| builder.get_config_value(key));
                if let Some(endpoint) = endpoint {
                    if !is_endpoint(&endpoint) {
                        return Err(address
                            .failed(format!("the store's endpoint '{endpoint}' is not a URL"))
                            .with_remedy(
                                "set AWS_ENDPOINT_URL to http://HOST:PORT or https://HOST",
                            ));
                    }
                    if endpoint.starts_with("http://") {
                        // Written so, plain HTTP is intended.
                        builder = builder.with_allow_http(true);
                    }
                }
                if !is_set("AWS_TIMEOUT") {
                    let key = AmazonS3ConfigKey::Client(ClientConfigKey::Timeout);
                    builder = builder.with_config(key, REQUEST_TIME);
                }
                both(builder.build().map_err(failed)?)
            }
            Scheme::Gs => {
                let mut builder = GoogleCloudStorageBuilder::from_env()
                    .with_bucket_name(bucket)
                    .with_retry(patience.retries());
                if !is_set("GOOGLE_TIMEOUT") {
                    let key = GoogleConfigKey::Client(ClientConfigKey::Timeout);
                    builder = builder.with_config(key, REQUEST_TIME);
                }
                both(builder.build().map_err(failed)?)
            }
            Scheme::Az => {
                let mut builder = MicrosoftAzureBuilder::from_env()
                    .with_container_name(bucket)
                    .with_retry(patience.retries());
                if !is_set("AZURE_TIMEOUT") {
                    let key = AzureConfigKey::Client(ClientConfigKey::Timeout);
                    builder = builder.with_config(key, REQUEST_TIME);
                }
                both(builder.build().map_err(failed)?)
            }
        };
        Ok(Store {
            objects,
            uploads,
            key,
        })
    }
}

/// The crate would panic at the first request to a malformed endpoint.
fn is_endpoint(text: &str) -> bool {
    let is_http = |url: &reqwest::Url| matches!(url.scheme(), "http" | "https") && url.has_host();
    reqwest::Url::parse(text).is_ok_and(|url| is_http(&url))
}

pub(super) fn both<S: ObjectStore + Uploads>(store: S) -> (Arc<dyn ObjectStore>, Arc<dyn Uploads>) {
    let store = Arc::new(store);
    (Arc::clone(&store) as _, store)
}

/// What a store's refusal means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    NoBucket,
    Expired,
    NotAccepted,
    NotAllowed,
    Busy,
    OtherRegion,
    NoUpload,
    Unreachable,
    NoCredentials,
    NoCertificates,
    Other,
}

impl Refusal {
    /// From the store's error code, or else from the crate's error.
    pub(super) fn of(error: &object_store::Error) -> Self {
        let said = causes(error);
        let code = between(&said, "<Code>", "</Code>").unwrap_or_default();
        match code {
            "NoSuchBucket" | "InvalidBucketName" | "ContainerNotFound" | "InvalidResourceName" => {
                return Refusal::NoBucket;
            }
            "ExpiredToken" | "TokenRefreshRequired" | "ExpiredTokenException" => {
                return Refusal::Expired;
            }
            "InvalidAccessKeyId"
            | "SignatureDoesNotMatch"
            | "InvalidToken"
            | "AuthenticationFailed"
            | "InvalidSecurity" => return Refusal::NotAccepted,
            "SlowDown"
            | "ServiceUnavailable"
            | "RequestLimitExceeded"
            | "ServerBusy"
            | "TooManyRequests" => return Refusal::Busy,
            "PermanentRedirect" | "AuthorizationHeaderMalformed" => return Refusal::OtherRegion,
            "NoSuchUpload" => return Refusal::NoUpload,
            _ => {}
        }
        let has = |words: &[&str]| words.iter().any(|word| said.contains(word));
        match error {
            // The metadata server, which has credentials on machines in a cloud, gave none.
            _ if has(&["169.254.", "metadata.google.internal"]) => Refusal::NoCredentials,
            object_store::Error::Unauthenticated { .. } => Refusal::NotAccepted,
            // Azure's words, and those of azurite, whose error code is that of a forbidden request.
            _ if has(&["failed to authenticate"]) => Refusal::NotAccepted,
            object_store::Error::PermissionDenied { .. } => Refusal::NotAllowed,
            _ if has(&["403 Forbidden"]) => Refusal::NotAllowed,
            _ if has(&["without LOCATION"]) => Refusal::OtherRegion,
            // The words of rustls-platform-verifier.
            _ if has(&["No CA certificates"]) => Refusal::NoCertificates,
            _ if has(&["429 Too Many", "503 Service", "SlowDown"]) => Refusal::Busy,
            _ if has(&["error sending request", "Connection refused", "dns error"]) => {
                Refusal::Unreachable
            }
            _ => Refusal::Other,
        }
    }
}

impl Scheme {
    /// What to set for the bucket's place, and for the credentials.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Scheme::S3 => ("AWS_REGION", "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY"),
            Scheme::Gs => ("the location", "GOOGLE_APPLICATION_CREDENTIALS"),
            Scheme::Az => (
                "the account",
                "AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY",
            ),
        }
    }
}

/// The error with what to do about it.
pub(super) fn explain(address: &Address, error: &object_store::Error) -> Error {
    let Address { bucket, scheme, .. } = address;
    let failed = |why: String| address.failed(why);
    let (region, credentials) = scheme.words();
    match Refusal::of(error) {
        Refusal::NoBucket => failed(format!("there is no bucket '{bucket}'"))
            .with_remedy("make it, or correct its name or AWS_ENDPOINT_URL"),
        Refusal::Expired => failed("the credentials have expired".into())
            .with_remedy(format!("get new ones, and set {credentials} and AWS_SESSION_TOKEN")),
        Refusal::NotAccepted => failed(format!("the store does not accept the credentials ({})", first_line(error)))
            .with_remedy(format!("look at {credentials}")),
        Refusal::NotAllowed => failed("the credentials do not permit that".into()).with_remedy(format!(
            "permit s3:PutObject and s3:AbortMultipartUpload, or what they are called there, in '{bucket}'"
        )),
        Refusal::Busy => failed("the store asked for fewer requests, again and again".into())
            .with_remedy("try again later, with fewer uploads at once"),
        Refusal::OtherRegion => failed(format!("'{bucket}' is in another region"))
            .with_remedy(format!("set {region} to it")),
        Refusal::NoUpload => failed("somebody else ended the upload".into())
            .with_remedy("look at the lifecycle rules of the bucket, and at who aborts uploads there"),
        Refusal::NoCredentials => failed("there are no credentials".into())
            .with_remedy(format!("set {credentials}")),
        Refusal::NoCertificates => failed(
            "this machine has no CA certificates, with which the store is authenticated".into(),
        )
        .with_remedy("install them (apt-get install ca-certificates), or set SSL_CERT_FILE"),
        Refusal::Unreachable => failed(format!("the store cannot be reached ({})", last_cause(error)))
            .with_remedy("look at the network, and at AWS_ENDPOINT_URL if it is set"),
        Refusal::Other => failed(first_line(error)),
    }
}

/// All causes, each in its own words.
pub(super) fn causes(error: &object_store::Error) -> String {
    let mut said = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        said.push('\n');
        said.push_str(&error.to_string());
        cause = error.source();
    }
    said
}

fn first_line(error: &object_store::Error) -> String {
    let said = causes(error);
    let message = between(&said, "<Message>", "</Message>");
    message
        .or(between(&said, "<Code>", "</Code>"))
        .or(said.lines().next())
        .unwrap_or_default()
        .to_owned()
}

fn last_cause(error: &object_store::Error) -> String {
    causes(error).lines().last().unwrap_or_default().to_owned()
}

fn between<'a>(text: &'a str, start: &str, end: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(start)?;
    Some(rest.split_once(end)?.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_endpoint_is_a_url_with_a_host() {
        for text in [
            "http://127.0.0.1:9000",
            "https://s3.example.org",
            "http://[::1]:9/",
        ] {
            assert!(is_endpoint(text), "{text}");
        }
        for text in [
            "",
            "127.0.0.1:9000",
            "localhost:9000",
            "https://",
            "ftp://host",
            "/x",
        ] {
            assert!(!is_endpoint(text), "{text}");
        }
    }

    #[test]
    fn the_error_without_certificates_advises_to_install_them() {
        let error = object_store::Error::Generic {
            store: "HTTP client",
            source: "No CA certificates were loaded from the system".into(),
        };
        assert_eq!(Refusal::of(&error), Refusal::NoCertificates);
    }

    #[test]
    fn a_refusal_is_what_its_words_say() {
        let refused = |url: &str| object_store::Error::PermissionDenied {
            path: "x".into(),
            source: format!("{url} answered 403 Forbidden").into(),
        };
        let of = |url| Refusal::of(&refused(url));
        assert_eq!(of("http://169.254.169.254/latest"), Refusal::NoCredentials);
        assert_eq!(of("https://s3.example.org/b/x"), Refusal::NotAllowed);
        let unknown =
            of("<Code>AuthorizationFailure</Code>Server failed to authenticate the request");
        assert_eq!(unknown, Refusal::NotAccepted);
    }
}

//! The HTTP client of the stores: reqwest, over HTTP/1.
//!
//! The crate object_store brings a client as well, but with HTTP/2, which it does not use unless told to, as it is slower
//! there, and which makes the binary larger. Knows the options of the crate's clients; knows nothing of stores or of what is
//! sent. The invariant: every option means what it does in the crate, those of HTTP/2 aside.

use std::error::Error as StdError;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService,
};
use object_store::{ClientConfigKey, ClientOptions, Error, Result};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::tls::Certificate;
use reqwest::{Body, Client, NoProxy, Proxy};

/// Makes the clients.
#[derive(Debug)]
pub(super) struct Connector;

impl HttpConnector for Connector {
    fn connect(&self, options: &ClientOptions) -> Result<HttpClient> {
        Ok(HttpClient::new(Http1(client(options)?)))
    }
}

/// As in `ClientOptions::client` of the crate.
fn client(options: &ClientOptions) -> Result<Client> {
    use ClientConfigKey as Key;
    let text = |key| options.get_config_value(&key);
    let is_on = |key| option(options, key, boolean).map(Option::unwrap_or_default);
    let duration = |key| option(options, key, |text| humantime::parse_duration(text).ok());
    let number = |key| option(options, key, |text| text.parse::<usize>().ok());
    if is_on(Key::Http2Only)? {
        return Err(Error::NotSupported {
            source: "fifofs speaks HTTP/1 with stores, and is told to use HTTP/2 only".into(),
        });
    }
    let agent = concat!("fifofs/", env!("CARGO_PKG_VERSION"));
    let mut builder = Client::builder()
        .http1_only()
        .user_agent(text(Key::UserAgent).unwrap_or_else(|| agent.into()))
        .https_only(!is_on(Key::AllowHttp)?);
    if let Some(headers) = options.get_default_headers() {
        builder = builder.default_headers(headers.clone());
    }
    if let Some(proxy) = text(Key::ProxyUrl) {
        let mut proxy = Proxy::all(proxy).map_err(unusable)?;
        if let Some(certificate) = text(Key::ProxyCaCertificate) {
            let certificate = Certificate::from_pem(certificate.as_bytes()).map_err(unusable)?;
            builder = builder.tls_certs_merge([certificate]);
        }
        if let Some(hosts) = text(Key::ProxyExcludes) {
            proxy = proxy.no_proxy(NoProxy::from_string(&hosts));
        }
        builder = builder.proxy(proxy);
    }
    if is_on(Key::NoSystemCertificates)? {
        builder = builder.tls_certs_only([]);
    }
    if is_on(Key::AllowInvalidCertificates)? {
        builder = builder.tls_danger_accept_invalid_certs(true);
    }
    if let Some(time) = duration(Key::Timeout)? {
        builder = builder.timeout(time);
    }
    if let Some(time) = duration(Key::ConnectTimeout)? {
        builder = builder.connect_timeout(time);
    }
    if let Some(time) = duration(Key::ReadTimeout)? {
        builder = builder.read_timeout(time);
    }
    if let Some(time) = duration(Key::PoolIdleTimeout)? {
        builder = builder.pool_idle_timeout(time);
    }
    if let Some(connections) = number(Key::PoolMaxIdlePerHost)? {
        builder = builder.pool_max_idle_per_host(connections);
    }
    if is_on(Key::RandomizeAddresses)? {
        builder = builder.dns_resolver(Arc::new(InTurn::default()));
    }
    builder.build().map_err(unusable)
}

fn option<T>(
    options: &ClientOptions,
    key: ClientConfigKey,
    parse: impl FnOnce(&str) -> Option<T>,
) -> Result<Option<T>> {
    let Some(text) = options.get_config_value(&key) else {
        return Ok(None);
    };
    let parsed = parse(&text).ok_or_else(|| Error::Generic {
        store: "HTTP client",
        source: format!("'{text}' is no value of {}", key.as_ref()).into(),
    })?;
    Ok(Some(parsed))
}

/// As the crate reads it.
fn boolean(text: &str) -> Option<bool> {
    match text.to_ascii_lowercase().as_str() {
        "1" | "true" | "on" | "yes" | "y" => Some(true),
        "0" | "false" | "off" | "no" | "n" => Some(false),
        _ => None,
    }
}

fn unusable(error: reqwest::Error) -> Error {
    Error::Generic {
        store: "HTTP client",
        source: Box::new(error),
    }
}

#[derive(Debug)]
struct Http1(Client);

#[async_trait::async_trait]
impl HttpService for Http1 {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (parts, body) = request.into_parts();
        let url = parts.uri.to_string();
        let url =
            reqwest::Url::parse(&url).map_err(|e| HttpError::new(HttpErrorKind::Unknown, e))?;
        let mut request = reqwest::Request::new(parts.method, url);
        *request.headers_mut() = parts.headers;
        *request.body_mut() = Some(match body.as_bytes() {
            Some(bytes) => bytes.clone().into(),
            None => Body::wrap(body),
        });
        let response = self.0.execute(request).await.map_err(failed)?;
        let (parts, body) = http::Response::<Body>::from(response).into_parts();
        let body = http_body_util::BodyExt::map_err(body, failed);
        Ok(HttpResponse::from_parts(parts, HttpResponseBody::new(body)))
    }
}

/// What decides whether a request is tried again. The crate says what it does with each kind; its own client sorts
/// errors in the same way.
fn failed(error: reqwest::Error) -> HttpError {
    let kind = if error.is_timeout() {
        HttpErrorKind::Timeout
    } else if error.is_connect() {
        HttpErrorKind::Connect
    } else if error.is_decode() {
        HttpErrorKind::Decode
    } else {
        let causes = std::iter::successors(error.source(), |&cause| cause.source());
        causes
            .filter_map(kind_of)
            .next()
            .unwrap_or(HttpErrorKind::Unknown)
    };
    // The crate names the URL, if that has no secret in it.
    HttpError::new(kind, error.without_url())
}

fn kind_of(cause: &(dyn StdError + 'static)) -> Option<HttpErrorKind> {
    if let Some(error) = cause.downcast_ref::<hyper::Error>() {
        if error.is_closed() || error.is_incomplete_message() || error.is_body_write_aborted() {
            return Some(HttpErrorKind::Request);
        }
        return error.is_timeout().then_some(HttpErrorKind::Timeout);
    }
    match cause.downcast_ref::<io::Error>()?.kind() {
        io::ErrorKind::TimedOut => Some(HttpErrorKind::Timeout),
        io::ErrorKind::ConnectionAborted
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::BrokenPipe
        | io::ErrorKind::UnexpectedEof => Some(HttpErrorKind::Interrupted),
        _ => None,
    }
}

/// Connects to the addresses of a name in turn, so that the servers of a store share the work. (The crate shuffles
/// them.)
#[derive(Debug, Default)]
struct InTurn(Arc<AtomicUsize>);

impl Resolve for InTurn {
    fn resolve(&self, name: Name) -> Resolving {
        let turn = self.0.fetch_add(1, Ordering::Relaxed);
        Box::pin(async move {
            // Port 0 stands for that of the URL.
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let mut addresses: Vec<SocketAddr> = found.collect();
            if !addresses.is_empty() {
                let first = turn % addresses.len();
                addresses.rotate_left(first);
            }
            Ok(Box::new(addresses.into_iter()) as Addrs)
        })
    }
}

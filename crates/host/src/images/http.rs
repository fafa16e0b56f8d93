//! One request for a file, over HTTP or HTTPS.
//!
//! Redirects are followed here and not by the client: at most ten, and never from HTTPS to HTTP. Proxies come from the
//! environment (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`). Nobody's answer is waited for longer than the
//! patience, and no header is larger than 64 KiB.

use std::io::Read;
use std::time::Duration;

use selfsame_machine::image::place::Url;
use ureq::config::Config;
use ureq::http::header::{CONTENT_RANGE, ETAG, IF_RANGE, LAST_MODIFIED, LOCATION, RANGE};
use ureq::{Agent, Body};

use super::FetchError;

/// How long a server may be silent.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
const REDIRECTS: usize = 10;
const HEADERS: usize = 64 * 1024;

/// What sends requests.
#[derive(Debug)]
pub(super) struct Client {
    agent: Agent,
    patience: Duration,
}

/// The part of a file that is there already, and what proves that the rest belongs to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct From {
    pub(super) offset: u64,
    pub(super) validator: String,
}

/// An answer whose body is a file, or its rest.
pub(super) struct Answer {
    /// Where the body begins in the file.
    pub(super) offset: u64,
    /// How long the whole file is, where that is said.
    pub(super) total: Option<u64>,
    /// What tells this version of the file from another.
    pub(super) validator: Option<String>,
    pub(super) body: Box<dyn Read>,
}

impl Client {
    /// As the environment says.
    pub(super) fn new() -> Self {
        Self::with(PATIENCE, Agent::config_builder())
    }

    /// Without a proxy, whatever the environment says.
    #[cfg(test)]
    pub(super) fn direct(patience: Duration) -> Self {
        Self::with(patience, Agent::config_builder().proxy(None))
    }

    fn with(patience: Duration, builder: ureq::config::ConfigBuilder<ureq::typestate::AgentScope>) -> Self {
        let config: Config = builder
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("selfsame/", env!("CARGO_PKG_VERSION")))
            .max_response_header_size(HEADERS)
            .timeout_resolve(Some(patience))
            .timeout_connect(Some(patience))
            .timeout_send_request(Some(patience))
            .timeout_recv_response(Some(patience))
            .timeout_per_read(Some(patience))
            .build();
        Self { agent: config.new_agent(), patience }
    }

    /// Asks for a file, or for the rest of it. Where the rest is another file's by now, or the server knows no parts,
    /// the answer begins at 0.
    pub(super) fn get(&self, url: &Url, from: Option<&From>) -> Result<Answer, FetchError> {
        let mut at = url.clone();
        for _ in 0..=REDIRECTS {
            let mut request = self.agent.get(at.text());
            if let Some(from) = from {
                request = request.header(RANGE, format!("bytes={}-", from.offset));
                request = request.header(IF_RANGE, from.validator.as_str());
            }
            let response = request.call().map_err(|source| self.failure(url, source))?;
            let header = |name| {
                response.headers().get(name).and_then(|value: &ureq::http::HeaderValue| value.to_str().ok())
            };
            let status = response.status().as_u16();
            match status {
                301 | 302 | 303 | 307 | 308 => {
                    let location = header(LOCATION).unwrap_or_default();
                    let next = at.join(location);
                    let next = next.map_err(|source| FetchError::Location { url: url.clone(), source })?;
                    if at.is_https() && !next.is_https() {
                        return Err(FetchError::Downgrade { url: url.clone(), to: next });
                    }
                    at = next;
                }
                200 => {
                    let validator = header(ETAG).filter(|tag| tag.starts_with('"'));
                    let validator = validator.or_else(|| header(LAST_MODIFIED)).map(str::to_owned);
                    let body = response.into_body();
                    return Ok(Answer {
                        offset: 0,
                        total: body.content_length(),
                        validator,
                        body: reader(body),
                    });
                }
                206 => {
                    let range = header(CONTENT_RANGE).and_then(content_range);
                    let Some((offset, total)) =
                        range.zip(from).filter(|((at, _), from)| *at == from.offset).map(|(range, _)| range)
                    else {
                        return Err(FetchError::Range { url: url.clone() });
                    };
                    let validator = from.map(|from| from.validator.clone());
                    let body = reader(response.into_body());
                    return Ok(Answer { offset, total: Some(total), validator, body });
                }
                404 | 410 => return Err(FetchError::Missing { url: url.clone(), status }),
                // The part is as long as the file, or longer.
                416 if from.is_some() => return Err(FetchError::Range { url: url.clone() }),
                _ => return Err(FetchError::Status { url: url.clone(), status }),
            }
        }
        Err(FetchError::Redirects { url: url.clone() })
    }

    /// Asks for a small text.
    pub(super) fn text(&self, url: &Url, limit: usize) -> Result<String, FetchError> {
        let answer = self.get(url, None)?;
        let limit = u64::try_from(limit).unwrap_or(u64::MAX);
        let mut bytes = Vec::new();
        let read = answer.body.take(limit.saturating_add(1)).read_to_end(&mut bytes);
        read.map_err(|error| self.failure(url, error.into()))?;
        if u64::try_from(bytes.len()).is_ok_and(|length| length > limit) {
            return Err(FetchError::TooLarge { url: url.clone(), limit });
        }
        String::from_utf8(bytes).map_err(|_| FetchError::NotText { url: url.clone() })
    }

    /// What a failure of the client means.
    pub(super) fn failure(&self, url: &Url, source: ureq::Error) -> FetchError {
        use std::io::ErrorKind::{BrokenPipe, ConnectionReset, UnexpectedEof};
        let url = url.clone();
        // The client adds errors without notice, so its enum cannot be gone through one by one: what is known to mean
        // something else is told first, all else keeps us from the server.
        if let ureq::Error::Timeout(what) = source
            && !matches!(what, ureq::Timeout::Resolve | ureq::Timeout::Connect)
        {
            return FetchError::Stalled { url, seconds: self.patience.as_secs() };
        }
        if let ureq::Error::Protocol(_) | ureq::Error::LargeResponseHeader(..) | ureq::Error::Http(_) = source
        {
            return FetchError::Garbled { url, source: Box::new(source) };
        }
        if let ureq::Error::Io(error) = source {
            return if matches!(error.kind(), UnexpectedEof | ConnectionReset | BrokenPipe) {
                FetchError::Cut { url, source: error }
            } else {
                FetchError::Unreachable { url, source: Box::new(error.into()) }
            };
        }
        FetchError::Unreachable { url, source: Box::new(source) }
    }
}

/// Without the client's own limit: whoever reads counts.
fn reader(body: Body) -> Box<dyn Read> {
    Box::new(body.into_with_config().limit(u64::MAX).reader())
}

/// `bytes FROM-TO/TOTAL`: where the part begins, and how long the whole is.
fn content_range(text: &str) -> Option<(u64, u64)> {
    let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
    let (from, to) = range.split_once('-')?;
    let (from, to, total): (u64, u64, u64) = (from.parse().ok()?, to.parse().ok()?, total.parse().ok()?);
    (from <= to && to < total).then_some((from, total))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_says_where_it_belongs() {
        assert_eq!(content_range("bytes 10-99/100"), Some((10, 100)));
        for wrong in ["", "bytes */100", "bytes 10-99/*", "bytes 10-100/100", "bytes 9-8/100", "10-99/100"] {
            assert_eq!(content_range(wrong), None, "{wrong}");
        }
    }
}

//! PURE: describes why a request had no response.

use std::error::Error;
use std::io;

use super::verifier::IsCa;

/// Why a request had no response: the innermost cause, without the URL.
pub fn cause(error: &reqwest::Error) -> String {
    let chain = chain(error);
    if let Some(tls) = chain.iter().find_map(|link| tls(*link)) {
        return tls;
    }
    if error.is_timeout() {
        let what = if error.is_connect() {
            "no connection in time"
        } else {
            "no answer in time"
        };
        return format!("timeout: {what}");
    }
    let texts: Vec<_> = chain.iter().skip(1).map(ToString::to_string).collect();
    if let Some(place) = texts.iter().position(|text| text.starts_with("dns error")) {
        let why = texts.get(place + 1).map_or("", String::as_str);
        return format!("DNS: the host name cannot be resolved: {why}");
    }
    if let Some(why) = texts.iter().find_map(|text| text.strip_prefix("tunnel error: ")) {
        return format!("proxy: it refused the connection: {why}");
    }
    let mut causes: Vec<&str> = Vec::new();
    // The stage that hyper reports adds nothing to the other texts.
    for text in texts.iter().filter(|text| !text.starts_with("client error (")) {
        if !causes.iter().any(|earlier| earlier.contains(text.as_str())) {
            causes.push(text);
        }
    }
    if causes.is_empty() {
        // The outermost text contains the URL, and there is no inner text.
        return if error.is_body() {
            "the response ended early"
        } else {
            "the request could not be sent"
        }
        .to_owned();
    }
    causes.join(": ")
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    let mut links = Vec::new();
    let mut next = Some(error);
    while let Some(link) = next {
        links.push(link);
        // An io::Error displays its inner error, but its source() skips that inner error.
        let content = link.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match content {
            Some(content) => Some(content),
            None => link.source(),
        };
    }
    links
}

fn tls(link: &(dyn Error + 'static)) -> Option<String> {
    use rustls::CertificateError::{BadSignature, NotValidForName, NotValidForNameContext, Other, UnknownIssuer};
    let error = link.downcast_ref::<rustls::Error>()?;
    let why = match error {
        // BadSignature: an authority of this name is trusted, and has another key.
        rustls::Error::InvalidCertificate(UnknownIssuer | BadSignature) => {
            "the server's certificate is not signed by a trusted authority".to_owned()
        }
        rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
            "the server's certificate is for another name".to_owned()
        }
        rustls::Error::InvalidCertificate(Other(other)) if other.0.is::<IsCa>() => {
            "the server's certificate has the CA flag and is not itself in the CA bundle: add it to the bundle, or replace \
             it by one without the CA flag"
                .to_owned()
        }
        other => other.to_string(),
    };
    Some(format!("TLS: {why}"))
}

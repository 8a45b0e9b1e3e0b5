//! Why there was no answer, in words. PURE.

use std::error::Error;
use std::io;

/// Why a request had no answer: the innermost cause in words, without the URL.
pub fn cause(error: &reqwest::Error) -> String {
    let chain = chain(error);
    if let Some(tls) = chain.iter().find_map(|link| tls(*link)) {
        return tls;
    }
    if error.is_timeout() {
        let what = if error.is_connect() {
            "no connection within 30 s"
        } else {
            "no answer within 60 s"
        };
        return format!("timeout: {what}");
    }
    let texts: Vec<_> = chain.iter().skip(1).map(ToString::to_string).collect();
    if let Some(place) = texts.iter().position(|text| text.starts_with("dns error")) {
        let why = texts.get(place + 1).map_or("", String::as_str);
        return format!("DNS: the name of the host cannot be resolved: {why}");
    }
    if let Some(why) = texts.iter().find_map(|text| text.strip_prefix("tunnel error: ")) {
        return format!("proxy: it does not let the connection through: {why}");
    }
    let mut said: Vec<&str> = Vec::new();
    // What hyper calls the stage says nothing that the rest does not say.
    for text in texts.iter().filter(|text| !text.starts_with("client error (")) {
        if !said.iter().any(|earlier| earlier.contains(text.as_str())) {
            said.push(text);
        }
    }
    if said.is_empty() {
        // The outermost text holds the URL; there is nothing below it, so the kind has to do.
        return if error.is_body() {
            "the answer broke off"
        } else {
            "the request could not be sent"
        }
        .to_owned();
    }
    said.join(": ")
}

fn chain<'a>(error: &'a (dyn Error + 'static)) -> Vec<&'a (dyn Error + 'static)> {
    let mut links = Vec::new();
    let mut next = Some(error);
    while let Some(link) = next {
        links.push(link);
        // An io::Error says what its content says, and leaves the content itself out of the chain.
        let content = link.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        next = match content {
            Some(content) => Some(content),
            None => link.source(),
        };
    }
    links
}

fn tls(link: &(dyn Error + 'static)) -> Option<String> {
    use rustls::CertificateError::{NotValidForName, NotValidForNameContext, UnknownIssuer};
    let error = link.downcast_ref::<rustls::Error>()?;
    let why = match error {
        rustls::Error::InvalidCertificate(UnknownIssuer) => {
            "the server's certificate is not signed by an authority that is trusted".to_owned()
        }
        rustls::Error::InvalidCertificate(NotValidForName | NotValidForNameContext { .. }) => {
            "the server's certificate is for another name".to_owned()
        }
        other => other.to_string(),
    };
    Some(format!("TLS: {why}"))
}

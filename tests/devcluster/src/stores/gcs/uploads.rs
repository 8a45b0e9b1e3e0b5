//! Uploads of the JSON API: simple, multipart and resumable.
//!
//! Source: https://cloud.google.com/storage/docs/uploads-downloads, .../performing-resumable-uploads

use super::super::Reply;
use super::objects::{Objects, Outcome, granted, record};
use super::reply;
use super::state::Accepted;
use super::upstream::Forwarded;
use hyper::Method;
use serde_json::Value;

/// A resumable upload that is not complete.
#[derive(Clone, Debug)]
pub(super) struct Session {
    pub bucket: String,
    /// How many bytes have come.
    received: u64,
}

/// What a client says about a part of a resumable upload.
enum Part {
    /// All of it, or the rest.
    Content,
    /// It only asks how much has come; with the size of all, if it knows it.
    Question(Option<u64>),
}

impl Objects<'_> {
    /// `POST`, `PUT` and `DELETE /upload/storage/v1/b/BUCKET/o`.
    pub async fn upload(&self, bucket: &str) -> Outcome {
        if let Some(id) = self.asked.parameter("upload_id") {
            return self.resume(bucket, &id).await;
        }
        if self.asked.method != Method::POST {
            return Ok(Err(reply::not_played("this method of uploads")));
        }
        let kind = self.asked.parameter("uploadType").unwrap_or_default();
        let described = match kind.as_str() {
            "media" => None,
            "multipart" => self.described(),
            "resumable" if self.asked.body.is_empty() => None,
            "resumable" => serde_json::from_slice(&self.asked.body).ok(),
            _ => return Ok(Err(reply::storage(400, "invalid", "Invalid uploadType"))),
        };
        let name = self.asked.parameter("name");
        let in_body = || {
            described
                .as_ref()
                .and_then(|of: &Value| of["name"].as_str().map(ToOwned::to_owned))
        };
        let name = name.or_else(in_body).unwrap_or_default();
        granted!(self.may_write(bucket, &name));
        let answer = self.upstream.forward(self.asked, &self.asked.path_and_query()).await?;
        let mut state = self.state();
        if answer.status == 412 {
            return Ok(Err(reply::condition()));
        }
        state.accepted.push(Accepted {
            method: "storage.objects.insert".into(),
            parameters: self.asked.parameters(),
            body: described,
        });
        if kind == "resumable" {
            let session = Session {
                bucket: bucket.to_owned(),
                received: 0,
            };
            if let Some(id) = upload_id(&answer) {
                state.sessions.insert(id, session);
            }
            return Ok(Ok(Forwarded {
                body: hyper::body::Bytes::new(),
                ..answer
            }));
        }
        if let (200, Some(object)) = (answer.status, answer.json()) {
            record(&mut state, bucket, &object);
        }
        Ok(Ok(answer))
    }

    /// The first part of a multipart body: JSON that describes the object.
    fn described(&self) -> Option<Value> {
        let text = String::from_utf8_lossy(&self.asked.body);
        let (_, rest) = text.split_once("\r\n\r\n").or_else(|| text.split_once("\n\n"))?;
        let mut values = serde_json::Deserializer::from_str(rest).into_iter();
        values.next()?.ok()
    }

    /// A part of a resumable upload. Its URL is the permission.
    async fn resume(&self, bucket: &str, id: &str) -> Outcome {
        let session = self.state().sessions.get(id).cloned();
        let session = session.filter(|session| session.bucket == bucket);
        let gone = || reply::storage(404, "notFound", "Not Found");
        let session = granted!(session.ok_or_else(gone));
        if self.asked.method == Method::DELETE {
            self.state().sessions.remove(id);
            return Ok(Ok(Forwarded::ours(&Reply::new(499, ""))));
        }
        match self.part() {
            Part::Question(all) if all != Some(session.received) => {
                return Ok(Ok(Forwarded::ours(&incomplete(session.received))));
            }
            _ => {}
        }
        let answer = self.upstream.forward(self.asked, &self.asked.path_and_query()).await?;
        let length = u64::try_from(self.asked.body.len()).unwrap_or_default();
        let mut state = self.state();
        let overridden = answer.headers.contains_key("x-http-status-code-override");
        if answer.status == 308 || overridden {
            if let Some(session) = state.sessions.get_mut(id) {
                session.received += length;
            }
        } else if answer.status == 200 {
            state.sessions.remove(id);
            if let Some(object) = answer.json() {
                record(&mut state, bucket, &object);
            }
        }
        Ok(Ok(answer))
    }

    fn part(&self) -> Part {
        let range = self
            .asked
            .header("content-range")
            .and_then(|text| text.strip_prefix("bytes */"));
        match range {
            Some(all) if self.asked.body.is_empty() => Part::Question(all.parse().ok()),
            _ => Part::Content,
        }
    }
}

fn incomplete(received: u64) -> Reply {
    let reply = Reply::new(308, "");
    match received.checked_sub(1) {
        Some(last) => reply.header("range", &format!("bytes=0-{last}")),
        None => reply,
    }
}

fn upload_id(answer: &Forwarded) -> Option<String> {
    let location = answer.headers.get("location")?.to_str().ok()?;
    let (_, rest) = location.split_once("upload_id=")?;
    rest.split('&').next().map(ToOwned::to_owned)
}

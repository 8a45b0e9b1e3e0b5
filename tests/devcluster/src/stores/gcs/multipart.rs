//! The XML API, as far as programs that speak the JSON API need it: downloads, also by signed URLs, and multipart uploads.
//!
//! Source: https://cloud.google.com/storage/docs/xml-api/reference-methods, .../multipart-uploads

use super::super::Reply;
use super::buckets::permitted;
use super::objects::{Objects, Outcome, granted, record};
use super::path::encode;
use super::reply;
use super::signed;
use super::state::timestamp;
use super::upstream::Forwarded;
use hyper::Method;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A multipart upload that is not complete.
#[derive(Debug)]
pub(super) struct Upload {
    pub key: String,
    begun: String,
    parts: BTreeMap<u32, Vec<u8>>,
}

impl Upload {
    pub fn new(key: &str) -> Self {
        Self {
            key: key.to_owned(),
            begun: timestamp(0),
            parts: BTreeMap::new(),
        }
    }
}

fn xml(body: &str) -> Forwarded {
    let body = format!("<?xml version='1.0' encoding='UTF-8'?>{body}");
    Forwarded::ours(&Reply::new(200, &body).header("content-type", "application/xml; charset=UTF-8"))
}

fn text(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn no_upload() -> Reply {
    Reply::error(404, "NoSuchUpload", "The requested upload was not found.")
}

/// A refusal of the JSON API as the XML API gives it.
fn translate(refused: Reply) -> Reply {
    let code = match refused.status {
        401 => "AuthenticationRequired",
        403 => "AccessDenied",
        404 => "NoSuchBucket",
        _ => return refused,
    };
    Reply::error(refused.status, code, "refused")
}

impl Objects<'_> {
    /// `/BUCKET`: only the list of multipart uploads.
    pub fn xml_bucket(&self, bucket: &str) -> Result<Forwarded, Reply> {
        let uploads = self.asked.parameter("uploads").is_some();
        if self.asked.method != Method::GET || !uploads {
            return Err(reply::not_played("buckets by the XML API"));
        }
        let state = self.state();
        permitted(&state, self.asked, bucket, "storage.multipartUploads.list").map_err(translate)?;
        let found = state.buckets.get(bucket).ok_or_else(no_upload)?;
        let size = self
            .asked
            .parameter("max-uploads")
            .and_then(|text| text.parse().ok())
            .unwrap_or(1000)
            .min(1000);
        let marker = (
            self.asked.parameter("key-marker").unwrap_or_default(),
            self.asked.parameter("upload-id-marker").unwrap_or_default(),
        );
        let mut all: Vec<(&str, &str, &str)> = Vec::new();
        for (id, upload) in &found.uploads {
            all.push((&upload.key, id, &upload.begun));
        }
        all.sort_unstable();
        all.retain(|(key, id, _)| (*key, *id) > (marker.0.as_str(), marker.1.as_str()));
        let more = all.len() > size;
        let mut body = format!(
            "<ListMultipartUploadsResult><Bucket>{bucket}</Bucket><MaxUploads>{size}</MaxUploads><IsTruncated>{more}</IsTruncated>"
        );
        all.truncate(size);
        if let Some((key, id, _)) = all.last().filter(|_| more) {
            // A String takes everything, here and below.
            let _ = write!(
                body,
                "<NextKeyMarker>{}</NextKeyMarker><NextUploadIdMarker>{id}</NextUploadIdMarker>",
                text(key)
            );
        }
        for (key, id, begun) in all {
            let _ = write!(
                body,
                "<Upload><Key>{}</Key><UploadId>{id}</UploadId><StorageClass>STANDARD</StorageClass><Initiated>{begun}</Initiated></Upload>",
                text(key)
            );
        }
        body.push_str("</ListMultipartUploadsResult>");
        Ok(xml(&body))
    }

    /// `/BUCKET/OBJECT`.
    pub async fn xml_object(&self, bucket: &str, name: &str) -> Outcome {
        let id = self.asked.parameter("uploadId");
        match (self.asked.method.as_str(), id) {
            ("GET" | "HEAD", None) => self.download(bucket, name).await,
            ("POST", None) if self.asked.parameter("uploads").is_some() => Ok(self.begin(bucket, name)),
            ("PUT", Some(id)) => Ok(self.take_part(bucket, &id)),
            ("POST", Some(id)) => self.complete(bucket, name, &id).await,
            ("DELETE", Some(id)) => Ok(self.abort(bucket, &id)),
            ("PUT", None) => {
                granted!(self.may_write(bucket, name).map_err(translate));
                self.store(bucket, name, self.asked.body.to_vec()).await
            }
            ("DELETE", None) => self.delete(bucket, name).await,
            _ => Ok(Err(reply::not_played("this method of the XML API"))),
        }
    }

    async fn download(&self, bucket: &str, name: &str) -> Outcome {
        let signer = granted!(signed::signer(&self.state(), self.asked));
        {
            let state = self.state();
            match signer {
                None => drop(granted!(
                    permitted(&state, self.asked, bucket, "storage.objects.get").map_err(translate)
                )),
                Some(signer) => {
                    let project = state.buckets.get(bucket).map(|bucket| bucket.project.clone());
                    let project = project.unwrap_or_default();
                    if !state.may(&signer, &project, "storage.objects.get") {
                        return Ok(Err(Reply::error(403, "AccessDenied", "Access denied.")));
                    }
                }
            }
        }
        let path = format!("/download/storage/v1/b/{}/o/{}?alt=media", encode(bucket), encode(name));
        let answer = self.upstream.forward(self.asked, &path).await?;
        if answer.status == 404 {
            return Ok(Err(Reply::error(404, "NoSuchKey", "The specified key does not exist.")));
        }
        Ok(Ok(answer))
    }

    fn begin(&self, bucket: &str, name: &str) -> Result<Forwarded, Reply> {
        let mut state = self.state();
        permitted(&state, self.asked, bucket, "storage.multipartUploads.create").map_err(translate)?;
        permitted(&state, self.asked, bucket, "storage.objects.create").map_err(translate)?;
        let id = format!("upload-{}", state.number());
        let found = state.buckets.get_mut(bucket).ok_or_else(no_upload)?;
        found.uploads.insert(id.clone(), Upload::new(name));
        Ok(xml(&format!(
            "<InitiateMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{}</Key><UploadId>{id}</UploadId></InitiateMultipartUploadResult>",
            text(name)
        )))
    }

    fn take_part(&self, bucket: &str, id: &str) -> Result<Forwarded, Reply> {
        let mut state = self.state();
        permitted(&state, self.asked, bucket, "storage.multipartUploads.create").map_err(translate)?;
        let number = self.asked.parameter("partNumber").and_then(|text| text.parse().ok());
        let number = number.ok_or_else(|| Reply::error(400, "InvalidArgument", "partNumber"))?;
        let upload = state
            .buckets
            .get_mut(bucket)
            .and_then(|bucket| bucket.uploads.get_mut(id));
        let upload = upload.ok_or_else(no_upload)?;
        upload.parts.insert(number, self.asked.body.to_vec());
        Ok(Forwarded::ours(
            &Reply::new(200, "").header("etag", &format!("\"{number}\"")),
        ))
    }

    async fn complete(&self, bucket: &str, name: &str, id: &str) -> Outcome {
        granted!(self.may_write(bucket, name).map_err(translate));
        let upload = {
            let mut state = self.state();
            granted!(permitted(&state, self.asked, bucket, "storage.multipartUploads.create").map_err(translate));
            let found = state
                .buckets
                .get_mut(bucket)
                .and_then(|bucket| bucket.uploads.remove(id));
            granted!(found.ok_or_else(no_upload))
        };
        let content: Vec<u8> = upload.parts.into_values().flatten().collect();
        granted!(self.store(bucket, name, content).await?);
        Ok(Ok(xml(&format!(
            "<CompleteMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{}</Key></CompleteMultipartUploadResult>",
            text(name)
        ))))
    }

    fn abort(&self, bucket: &str, id: &str) -> Result<Forwarded, Reply> {
        let mut state = self.state();
        permitted(&state, self.asked, bucket, "storage.multipartUploads.abort").map_err(translate)?;
        let found = state.buckets.get_mut(bucket).ok_or_else(no_upload)?;
        found.uploads.remove(id).ok_or_else(no_upload)?;
        Ok(Forwarded::ours(&reply::nothing()))
    }

    async fn store(&self, bucket: &str, name: &str, content: Vec<u8>) -> Outcome {
        let kind = self.asked.header("content-type").unwrap_or("application/octet-stream");
        let answer = self.upstream.store(bucket, name, kind, content.into()).await?;
        match answer.json().filter(|_| answer.status == 200) {
            Some(object) => record(&mut self.state(), bucket, &object),
            None => return Ok(Err(Reply::error(500, "InternalError", "fake-gcs-server"))),
        }
        Ok(Ok(Forwarded::ours(&Reply::new(200, ""))))
    }
}

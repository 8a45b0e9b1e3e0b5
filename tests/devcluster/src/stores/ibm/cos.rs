//! Cloud Object Storage: who asks and in which instance a bucket is are checked here, the objects are in the store behind.
//!
//! Sources: IBM Cloud, "Cloud Object Storage: Bucket operations", "Common headers and error codes", "Storage classes".

use super::super::Reply;
use super::super::asked::Asked;
use super::super::lock;
use super::super::serve::{Answered, Body, Closed};
use super::super::wire::{Answer, Call, Target, element};
use super::iam;
use super::reply::cos as error;
use super::routes::Shared;
use super::state::{Bucket, State};
use http_body_util::{Either, Full};
use hyper::header::{self, HeaderName};
use hyper::{Method, Response, StatusCode};

const CLASSES: [&str; 6] = ["standard", "vault", "cold", "flex", "smart", "onerate_active"];
const INSTANCE: &str = "ibm-service-instance-id";
/// Headers of the store's answer that do not go on.
const OWN_HOP: [HeaderName; 3] = [header::CONNECTION, header::TRANSFER_ENCODING, header::CONTENT_LENGTH];

/// As whom a request goes to the store.
enum As {
    /// As it came: its signature is one of the store's keys.
    Itself,
    /// As the store's administrator: the stand-in checked the token.
    Admin,
}

impl Shared {
    pub(super) async fn cos(&self, asked: &Asked) -> Answered {
        let answered = match self.allowed(asked) {
            Ok(way) => self.carried_out(asked, &way).await?,
            Err(refused) => Err(refused),
        };
        Ok(match answered {
            Ok(answer) => forwarded(asked, answer),
            Err(refused) => refused.response(&asked.method),
        })
    }

    fn allowed(&self, asked: &Asked) -> Result<As, Reply> {
        let state = lock(&self.state);
        let (bucket, key) = asked.resource();
        let denied = || error(403, "AccessDenied", "Access Denied");
        let bearer = asked
            .header("authorization")
            .is_some_and(|value| value.starts_with("Bearer "));
        let (instances, way) = if bearer {
            let caller = iam::caller(&state, asked).ok_or_else(denied)?;
            let all = state.instances.iter().filter(|one| one.account == caller.account);
            let mut instances: Vec<String> = all.map(|one| one.crn.clone()).collect();
            if let Some(named) = asked.header(INSTANCE) {
                instances.retain(|crn| crn == named);
            } else if bucket.is_empty() || (asked.method == Method::PUT && key.is_empty() && asked.query.is_empty()) {
                return Err(error(400, "InvalidRequest", "ibm-service-instance-id is required"));
            }
            (instances, As::Admin)
        } else {
            let id = asked.key_id().ok_or_else(denied)?;
            let of_id = |hmac: &super::super::wire::Keys| hmac.id == id;
            let keys = state.keys.iter().filter(|key| key.state == "active");
            let keys = keys.filter(|key| key.hmac.as_ref().is_some_and(of_id));
            let instances: Vec<String> = keys.map(|key| key.instance.clone()).collect();
            if instances.is_empty() {
                return Err(error(
                    403,
                    "InvalidAccessKeyId",
                    "The AWS access key ID you provided does not exist",
                ));
            }
            (instances, As::Itself)
        };
        let usable = |crn: &String| {
            state
                .instances
                .iter()
                .any(|one| one.crn == *crn && one.state == "active")
        };
        let instances: Vec<String> = instances.into_iter().filter(usable).collect();
        may_reach(&state, asked, &bucket, &instances)?;
        Ok(way)
    }

    async fn carried_out(&self, asked: &Asked, way: &As) -> Result<Result<Answer, Reply>, Closed> {
        let (bucket, _) = asked.resource();
        let operation = asked.operation();
        match operation.as_str() {
            "CreateBucket" => {
                let record = match self.new_bucket(asked, &bucket) {
                    Ok(record) => record,
                    Err(refused) => return Ok(Err(refused)),
                };
                if lock(&self.state).abandoned.remove(&bucket) {
                    self.clear(&bucket).await?;
                }
                let answer = self.create(&bucket).await?;
                if answer.status == 200 {
                    lock(&self.state).buckets.insert(bucket, record);
                }
                return Ok(Ok(answer));
            }
            "GetBucketLocation" => return Ok(Err(self.location(&bucket))),
            _ if bucket.is_empty() => return Ok(Err(self.list(asked))),
            name if name.ends_with("BucketTagging") || name.ends_with("BucketEncryption") => {
                let text = "A header you provided implies functionality that is not implemented";
                return Ok(Err(error(501, "NotImplemented", text)));
            }
            _ => {}
        }
        let answer = self.forward(asked, way).await?;
        if operation == "DeleteBucket" && answer.status == 204 {
            lock(&self.state).forget_bucket(&bucket);
        }
        Ok(Ok(answer))
    }

    fn new_bucket(&self, asked: &Asked, bucket: &str) -> Result<Bucket, Reply> {
        let mut state = lock(&self.state);
        let instance = asked.header(INSTANCE).unwrap_or_default().to_owned();
        if let Some(known) = state.buckets.get(bucket) {
            return Err(if known.instance == instance {
                error(409, "BucketAlreadyOwnedByYou", "You already own the bucket")
            } else {
                error(409, "BucketAlreadyExists", "The requested bucket name is not available")
            });
        }
        let constraint = element(&asked.text(), "LocationConstraint").unwrap_or_default();
        let known = constraint
            .rsplit_once('-')
            .is_some_and(|(location, class)| CLASSES.contains(&class) && location.contains('-'));
        if !known {
            return Err(error(
                400,
                "InvalidLocationConstraint",
                "Container storage location with specified provisioning code not available",
            ));
        }
        if state.keeps_name(bucket) {
            return Err(error(
                409,
                "BucketAlreadyExists",
                "The requested bucket name is not available",
            ));
        }
        Ok(Bucket { instance, constraint })
    }

    /// Deletes a bucket of the store with its objects: its instance is gone.
    async fn clear(&self, bucket: &str) -> Result<(), Closed> {
        let send = async |method: Method, path: String| {
            let call = Call::new(method, &path).signed(&self.admin, "s3", &self.region);
            self.upstream.call(call).await.map_err(|_| Closed)
        };
        let listed = send(Method::GET, format!("/{bucket}?list-type=2")).await?.text();
        for (key, _) in listed
            .split("<Key>")
            .skip(1)
            .filter_map(|rest| rest.split_once("</Key>"))
        {
            send(Method::DELETE, format!("/{bucket}/{key}")).await?;
        }
        send(Method::DELETE, format!("/{bucket}")).await?;
        Ok(())
    }

    /// Creates a bucket of the store.
    pub(super) async fn create(&self, bucket: &str) -> Result<Answer, Closed> {
        let body = format!(
            "<CreateBucketConfiguration><LocationConstraint>{}</LocationConstraint></CreateBucketConfiguration>",
            self.region
        );
        let body = if self.region == "us-east-1" {
            String::new()
        } else {
            body
        };
        let path = format!("/{bucket}");
        let call = Call::new(Method::PUT, &path).body(body.as_bytes());
        self.upstream
            .call(call.signed(&self.admin, "s3", &self.region))
            .await
            .map_err(|_| Closed)
    }

    fn location(&self, bucket: &str) -> Reply {
        let state = lock(&self.state);
        let constraint = state
            .buckets
            .get(bucket)
            .map(|bucket| bucket.constraint.clone())
            .unwrap_or_default();
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><LocationConstraint \
             xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{constraint}</LocationConstraint>"
        );
        Reply::new(200, &body).header("content-type", "application/xml")
    }

    fn list(&self, asked: &Asked) -> Reply {
        let instance = asked.header(INSTANCE).unwrap_or_default();
        let state = lock(&self.state);
        let of_instance = state.buckets.iter().filter(|(_, bucket)| bucket.instance == instance);
        let names: Vec<String> = of_instance
            .map(|(name, _)| {
                format!("<Bucket><Name>{name}</Name><CreationDate>2026-01-01T00:00:00.000Z</CreationDate></Bucket>")
            })
            .collect();
        let names = names.concat();
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?><ListAllMyBucketsResult \
             xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Owner><ID>{instance}</ID></Owner><Buckets>{names}</Buckets>\
             </ListAllMyBucketsResult>"
        );
        Reply::new(200, &body).header("content-type", "application/xml")
    }

    async fn forward(&self, asked: &Asked, way: &As) -> Result<Answer, Closed> {
        let path = asked.path_and_query();
        let mut headers: Vec<(&str, &str)> = Vec::new();
        for (name, value) in &asked.headers {
            let name = name.as_str();
            let kept = match way {
                As::Itself => !matches!(name, "host" | "connection" | "content-length" | "transfer-encoding"),
                As::Admin => {
                    let of_signature = matches!(name, "x-amz-date" | "x-amz-content-sha256" | "x-amz-security-token");
                    (name.starts_with("x-amz-") && !of_signature)
                        || matches!(
                            name,
                            "content-md5" | "content-type" | "range" | "if-match" | "if-none-match"
                        )
                }
            };
            if let (true, Ok(value)) = (kept, value.to_str()) {
                headers.push((name, value));
            }
        }
        let call = Call::new(asked.method.clone(), &path)
            .headers(&headers)
            .body(&asked.body);
        let call = match way {
            As::Itself => call.host(&asked.host),
            As::Admin => call.signed(&self.admin, "s3", &self.region),
        };
        let target: &Target = &self.upstream;
        target.call(call).await.map_err(|_| Closed)
    }
}

/// Whether a request may reach its bucket from one of these instances.
fn may_reach(state: &State, asked: &Asked, bucket: &str, instances: &[String]) -> Result<(), Reply> {
    if bucket.is_empty() || asked.operation() == "CreateBucket" {
        return if instances.is_empty() {
            Err(error(403, "AccessDenied", "Access Denied"))
        } else {
            Ok(())
        };
    }
    let known = state.buckets.get(bucket);
    let known = known.ok_or_else(|| error(404, "NoSuchBucket", "The specified bucket does not exist."))?;
    if instances.contains(&known.instance) {
        return Ok(());
    }
    Err(error(403, "AccessDenied", "Access Denied"))
}

fn forwarded(asked: &Asked, answer: Answer) -> Response<Body> {
    let is_head = asked.method == Method::HEAD;
    let mut response = Response::new(Either::Right(Full::new(answer.body)));
    *response.status_mut() = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut headers = answer.headers;
    for name in OWN_HOP {
        // At HEAD the length is the object's.
        if !(is_head && name == header::CONTENT_LENGTH) {
            headers.remove(name);
        }
    }
    *response.headers_mut() = headers;
    response
}

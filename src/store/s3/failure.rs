//! What a failed request means: whether trying again can help, and what a person can do where it can't.

use std::error::Error as StdError;
use std::io;

use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use hyper_util::client::legacy::Error as ConnectError;

use crate::store::Status;

/// What to do about a failed request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// The store asks for fewer requests.
    Throttled,
    /// The store or the network had an accident, or no answer came; the request may have been carried out.
    Transient,
    /// No connection came about, so nothing was sent.
    Unreachable,
    /// The object isn't there.
    NotFound,
    /// The condition of a conditional write didn't hold.
    Condition,
    /// Another conditional write was under way at the same time; whether it was ours is to be seen.
    Conflict,
    /// The store doesn't know this operation.
    Unsupported,
    /// It was refused, and would be again, for this object.
    Refused,
    /// It was refused, and would be again, for every object.
    Hopeless,
}

/// A failed request.
#[derive(Debug, Clone)]
pub struct Failure {
    /// What to do about it.
    pub class: Class,
    /// The HTTP status; 0 without an answer.
    pub status: u16,
    /// S3's error code, if it gave one.
    pub code: String,
    /// What happened, as a fragment.
    pub reason: String,
    /// What a person can do.
    pub hint: Option<String>,
}

/// What became of a request, for the counters.
pub fn status<T>(outcome: &Result<T, Failure>) -> Status {
    match outcome {
        Ok(_) => Status::Done,
        Err(Failure { status: 0, .. }) => Status::Silent,
        Err(Failure { status: 200..300, .. }) => Status::Failed,
        Err(Failure { status, .. }) => Status::Code(*status),
    }
}

/// Where the requests go, for messages.
#[derive(Debug, Clone)]
pub struct Place {
    /// The bucket.
    pub bucket: String,
    /// The server's address; none for AWS's own.
    pub endpoint: Option<String>,
}

impl Failure {
    /// A failure that S3 has no code for.
    pub fn new(class: Class, reason: impl Into<String>) -> Failure {
        Failure { class, status: 0, code: String::new(), reason: reason.into(), hint: None }
    }

    fn hint(mut self, hint: impl Into<String>) -> Failure {
        self.hint = Some(hint.into());
        self
    }

    /// True if the request may be carried out yet: no answer came, or only one from something in between.
    pub fn is_unanswered(&self) -> bool {
        self.class == Class::Transient && self.code.is_empty()
    }

    /// True for what the credentials may not do.
    pub fn is_denied(&self) -> bool {
        matches!(self.status, 401 | 403) || self.code == "AccessDenied"
    }

    /// An answer that didn't come in time.
    pub fn time_out(place: &Place, waited: std::time::Duration) -> Failure {
        let waited = humantime::format_duration(waited);
        Failure::new(Class::Transient, format!("no answer from {} within {waited}", place.server())).hint(
            "is the store overloaded, or the network? [store] timeout allows a request more time; run the command \
             again when it answers",
        )
    }

    /// One object's error in an answer about many.
    pub fn of_key(code: &str, message: &str) -> Failure {
        let reason = format!("the store answered {code}: {}", message.trim_end_matches('.'));
        Failure { class: class(200, code), status: 200, code: code.to_owned(), reason, hint: None }
    }

    /// Understands what the SDK says.
    pub fn of<E>(place: &Place, error: &SdkError<E, HttpResponse>) -> Failure
    where
        E: ProvideErrorMetadata + StdError + 'static,
    {
        match error {
            SdkError::ServiceError(service) => {
                let (code, message) = (service.err().code(), service.err().message());
                let raw = service.raw();
                let header = raw.headers().get("x-amz-bucket-region");
                answered(place, raw.status().as_u16(), code.unwrap_or_default(), message.unwrap_or_default(), header)
            }
            SdkError::ResponseError(response) => {
                let raw = response.raw();
                let status = raw.status().as_u16();
                match status {
                    // The body broke off, or isn't S3's.
                    200..300 => Failure::new(Class::Transient, format!("the answer can't be read: {}", chain(error))),
                    _ => answered(place, status, "", "", raw.headers().get("x-amz-bucket-region")),
                }
            }
            SdkError::TimeoutError(_) => {
                Failure::new(Class::Transient, format!("no answer from {} in time", place.server()))
            }
            // The request couldn't even be made, and it won't be otherwise the next time.
            SdkError::ConstructionFailure(_) if find::<CredentialsError>(error).is_none() => {
                Failure::new(Class::Hopeless, format!("the request can't be made: {}", innermost(error))).hint(
                    "look for a wrong value in [store], or in the variables and the profile that AWS's tools read",
                )
            }
            _ => unanswered(place, error),
        }
    }
}

impl Place {
    /// The server, in words.
    pub fn server(&self) -> String {
        self.endpoint.clone().unwrap_or_else(|| "AWS".to_owned())
    }
}

/// An answer other than success.
fn answered(place: &Place, status: u16, code: &str, message: &str, region: Option<&str>) -> Failure {
    let class = class(status, code);
    let said = match (code, message) {
        ("", _) => format!("the store answered {status}"),
        (code, "") => format!("the store answered {status} {code}"),
        (code, message) => format!("the store answered {status} {code}: {}", message.trim_end_matches('.')),
    };
    let failure = Failure { class, status, code: code.to_owned(), reason: said, hint: None };
    let bucket = &place.bucket;
    match (code, status) {
        ("NoSuchBucket", _) => failure.hint(format!(
            "create the bucket {bucket}, or correct [store] url; tintype makes no buckets"
        )),
        ("PermanentRedirect" | "AuthorizationHeaderMalformed" | "IllegalLocationConstraintException", _) | (_, 301) => {
            let region = region.map(str::to_owned).or_else(|| expected_region(message));
            failure.hint(match region {
                Some(region) => format!("the bucket {bucket} lies in the region {region}: set [store] region = \"{region}\""),
                None => format!("the bucket {bucket} lies in another region: set [store] region to it"),
            })
        }
        ("RequestTimeTooSkewed" | "RequestExpired", _) => failure.hint(
            "the store says that this machine's clock is wrong, by a quarter of an hour or more: set the clock (`timedatectl` \
             shows whether NTP is on) and run the command again",
        ),
        ("InvalidAccessKeyId" | "SignatureDoesNotMatch" | "InvalidToken" | "ExpiredToken" | "TokenRefreshRequired", _) => {
            failure.hint(
                "check the credentials: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the role of this \
                 machine",
            )
        }
        (_, 401 | 403) => failure.hint(format!(
            "the credentials lack a right on the bucket {bucket}: s3:GetObject, s3:PutObject, s3:DeleteObject and \
             s3:ListBucket are needed (without s3:ListBucket, S3 answers 403 also for an object that isn't there)"
        )),
        (_, 429 | 500..) => failure.hint("the store is overloaded or out of order; run the command again later"),
        _ => failure,
    }
}

/// `expecting 'eu-west-1'`, as S3 words it.
fn expected_region(message: &str) -> Option<String> {
    let rest = message.split_once("expecting '")?.1;
    Some(rest.split_once('\'')?.0.to_owned())
}

/// The class of an answer. The code goes first: an error may come in the body of a 200.
fn class(status: u16, code: &str) -> Class {
    class_of_code(code).unwrap_or_else(|| class_of_status(status))
}

fn class_of_code(code: &str) -> Option<Class> {
    Some(match code {
        "SlowDown"
        | "SlowDownRead"
        | "SlowDownWrite"
        | "ServiceUnavailable"
        | "Throttling"
        | "ThrottlingException"
        | "TooManyRequests"
        | "RequestLimitExceeded" => Class::Throttled,
        "OperationAborted" | "RequestTimeout" | "InternalError" | "IncompleteBody" | "BadDigest" => Class::Transient,
        "NoSuchKey" | "NotFound" | "NoSuchVersion" => Class::NotFound,
        "PreconditionFailed" => Class::Condition,
        "ConditionalRequestConflict" => Class::Conflict,
        "NotImplemented" | "MethodNotAllowed" => Class::Unsupported,
        "NoSuchBucket"
        | "PermanentRedirect"
        | "AuthorizationHeaderMalformed"
        | "RequestTimeTooSkewed"
        | "RequestExpired"
        | "InvalidAccessKeyId"
        | "SignatureDoesNotMatch"
        | "InvalidToken"
        | "ExpiredToken" => Class::Hopeless,
        _ => return None,
    })
}

fn class_of_status(status: u16) -> Class {
    match status {
        429 | 503 => Class::Throttled,
        408 | 500 | 502 | 504 => Class::Transient,
        404 => Class::NotFound,
        412 => Class::Condition,
        409 => Class::Conflict,
        405 | 501 => Class::Unsupported,
        301 | 307 | 401 => Class::Hopeless,
        _ => Class::Refused,
    }
}

/// No answer: the request couldn't be made, couldn't be sent, or the connection ended before the answer.
fn unanswered(place: &Place, error: &(dyn StdError + 'static)) -> Failure {
    let server = place.server();
    let text = chain(error);
    if let Some(credentials) = find::<CredentialsError>(error) {
        return Failure::new(Class::Hopeless, format!("there are no usable credentials: {}", chain(credentials)))
            .hint("set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give this machine a role");
    }
    if text.contains("invalid peer certificate") || text.contains("UnknownIssuer") {
        return Failure::new(
            Class::Hopeless,
            format!("the certificate of {server} isn't trusted: {}", innermost(error)),
        )
        .hint("for a private certificate authority, name its certificates (PEM) in SSL_CERT_FILE");
    }
    let connecting = find::<ConnectError>(error).is_some_and(ConnectError::is_connect);
    if !connecting {
        return Failure::new(Class::Transient, format!("the connection to {server} broke: {}", innermost(error)))
            .hint("run the command again; it goes on where this one stopped");
    }
    let refused = find::<io::Error>(error).is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused);
    let unknown = text.contains("dns error") || text.contains("failed to lookup address");
    let (reason, hint) = match (refused, unknown, &place.endpoint) {
        (true, ..) => (
            format!("nothing listens at {server}: connection refused"),
            "is the store running, and is [store] endpoint its address and port?".to_owned(),
        ),
        (_, true, Some(_)) => (
            format!("the name of {server} is unknown"),
            "is [store] endpoint spelt right, and does name resolution work here?".to_owned(),
        ),
        (_, true, None) => (
            "the name of the bucket's server at AWS is unknown".to_owned(),
            "is [store] region a region of AWS, and does name resolution work here? A store that isn't AWS needs \
             [store] endpoint"
                .to_owned(),
        ),
        _ => (
            format!("no connection to {server}: {}", innermost(error)),
            "can this machine reach it? see [store] endpoint, the firewall and the proxy".to_owned(),
        ),
    };
    Failure::new(Class::Unreachable, reason).hint(hint)
}

fn find<'a, E: StdError + 'static>(error: &'a (dyn StdError + 'static)) -> Option<&'a E> {
    causes(error).find_map(|error| error.downcast_ref::<E>())
}

fn causes<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |&error| error.source())
}

fn innermost(error: &(dyn StdError + 'static)) -> String {
    causes(error).last().map(ToString::to_string).unwrap_or_default()
}

fn chain(error: &(dyn StdError + 'static)) -> String {
    causes(error).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_decides_before_the_status() {
        assert_eq!(class(200, "SlowDown"), Class::Throttled);
        assert_eq!(class(200, "InternalError"), Class::Transient);
        assert_eq!(class(404, "NoSuchBucket"), Class::Hopeless);
        assert_eq!(class(404, ""), Class::NotFound);
        assert_eq!(class(409, "OperationAborted"), Class::Transient);
        assert_eq!(class(409, "ConditionalRequestConflict"), Class::Conflict);
        assert_eq!(class(403, "RequestTimeTooSkewed"), Class::Hopeless);
        assert_eq!(class(403, "AccessDenied"), Class::Refused);
        assert_eq!(class(429, ""), Class::Throttled);
        assert_eq!(class(400, "RequestTimeout"), Class::Transient);
    }

    #[test]
    fn a_request_that_cannot_be_made_is_not_tried_again() {
        let place = Place { bucket: "b".to_owned(), endpoint: None };
        let error: SdkError<aws_sdk_s3::operation::get_object::GetObjectError, HttpResponse> =
            SdkError::construction_failure("the URI has no authority");
        let failure = Failure::of(&place, &error);
        assert_eq!(failure.class, Class::Hopeless);
        assert!(failure.reason.contains("the URI has no authority"), "{}", failure.reason);
    }

    #[test]
    fn a_wrong_region_is_told_with_the_right_one() {
        let place = Place { bucket: "b".to_owned(), endpoint: None };
        let message = "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'";
        let failure = answered(&place, 400, "AuthorizationHeaderMalformed", message, None);
        assert!(failure.hint.unwrap().contains("region = \"eu-west-1\""));
        let failure = answered(&place, 301, "PermanentRedirect", "", Some("eu-north-1"));
        assert!(failure.hint.unwrap().contains("eu-north-1"));
    }
}

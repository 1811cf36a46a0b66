//! Copies and deletions, asked for as an activation does.

use super::super::failure::{Class, Failure};
use super::objects::{attributes, packed};
use super::trial::{Trial, body};
use crate::store::attributes::CONTENT_ENCODING;
use crate::store::probe::{Check, Subject, Verdict};

pub const COPY: Subject = Subject { name: "copy", means: "documents are activated without being uploaded again" };
pub const BULK_DELETE: Subject = Subject { name: "bulk-delete", means: "documents are removed a thousand a request" };
pub const DELETE_ABSENT: Subject =
    Subject { name: "delete-absent", means: "a removal that was interrupted can be done again" };

/// A copy with new headers over an object that is there: the object must have the bytes of the one and the headers of the
/// other.
pub async fn copy(trial: &Trial<'_>) -> Result<Check, Failure> {
    const INSTEAD: &str = "documents are written twice instead: publishing takes more time and traffic";
    let (from, to, bytes) = (trial.key("copied from.json.gz"), trial.key("copied.json"), packed("to be copied"));
    trial.put(&from, &bytes, None).await?;
    let before = packed("to be replaced");
    trial.put(&to, &before, Some(&attributes(&before, 1))).await?;
    let expected = attributes(&bytes, 2);
    if let Err(given_up) = trial.s3.copy(&to, &from, &expected).await {
        return match given_up.class {
            Class::Unsupported => Ok(COPY.check(Verdict::Missing, given_up.error.reason).hint(INSTEAD)),
            _ => Ok(COPY.broken(given_up.error.reason).hint(given_up.error.hint.unwrap_or_default())),
        };
    }
    let hint = "the store says that it copied; a document could not be read after it was activated";
    let Some(object) = trial.get(&to).await? else {
        return Ok(COPY.broken("the object is gone after a copy over it").hint(hint));
    };
    if object.bytes != bytes[..] {
        let what =
            if object.bytes == before[..] { "its old bytes" } else { "neither its old bytes nor the copied ones" };
        return Ok(COPY.broken(format!("after a copy over it an object has {what}")).hint(hint));
    }
    let metadata = expected.metadata();
    let kept = object.headers.encoding.as_deref() == Some(CONTENT_ENCODING)
        && object.headers.cache_control.as_deref() == Some(expected.cache_control.as_str())
        && metadata.iter().all(|(name, value)| object.headers.metadata.get(*name) == Some(value));
    Ok(match kept {
        true => COPY.ok("over an object that is there, with other headers"),
        false => COPY.check(Verdict::Missing, "a copy doesn't get the headers that it is told to").hint(INSTEAD),
    })
}

/// Many objects in one request, one of them absent.
pub async fn bulk_delete(trial: &Trial<'_>) -> Result<Check, Failure> {
    const HINT: &str = "a document that can't be removed stays on the site, and its release unfinished";
    let keys = [trial.key("bulk-delete.json"), trial.key("bulk-delete-absent.json")];
    trial.put(&keys[0], &body("to be deleted"), None).await?;
    let batch = keys.clone().map(|key| (key.clone(), key));
    let errors = match trial.s3.delete_objects(&batch).await {
        Ok(errors) => errors,
        Err(given_up) if given_up.is_about_the_request() => {
            let check = BULK_DELETE.check(Verdict::Missing, given_up.error.reason);
            return Ok(check.hint("documents are removed one by one instead"));
        }
        Err(given_up) => return Ok(BULK_DELETE.broken(given_up.error.reason).hint(HINT)),
    };
    if let Some((_, failure)) = errors.iter().find(|(_, failure)| failure.class != Class::NotFound) {
        return Ok(BULK_DELETE.broken(failure.reason.clone()).hint(HINT));
    }
    if trial.bytes(&keys[0]).await?.is_some() {
        return Ok(BULK_DELETE.broken("the store said that an object was deleted, and it is still there").hint(HINT));
    }
    Ok(BULK_DELETE.ok("two objects, one of them absent"))
}

/// One object that isn't there.
pub async fn delete_absent(trial: &Trial<'_>) -> Result<Check, Failure> {
    trial.delete(&trial.key("delete-absent.json")).await?;
    Ok(DELETE_ABSENT.ok("no error"))
}

//! The copy of a head that is kept in a database, left in the store as `head.json`.
//!
//! It is there for people who look at the bucket; no run decides by what it says. But it marks the store: a publisher
//! that is set up to find the head in the store itself, or in another database, finds the mark and stops. For the same
//! reason a head that stands in `head.json` without the mark is taken over by the first run with a database: the store
//! has only just been moved there.

use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{HEAD, HeadPlace};
use crate::store::StoreError;
use crate::store::attributes::CONTENT_TYPE;
use crate::store::s3::S3;
use crate::store::s3::failure::status;

/// The longest wait for a copy to be written. Too long keeps a commit waiting for what nobody needs.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Where the original of a copy is; `None` if this is no copy.
pub fn original(bytes: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Copy {
        copy_of: String,
    }
    serde_json::from_slice::<Copy>(bytes).ok().map(|copy| copy.copy_of)
}

impl S3 {
    /// Leaves a copy, if that works at once.
    pub(super) async fn leave_copy(&self, original: &str, head: &[u8]) {
        let head: Value = serde_json::from_slice(head).unwrap_or_default();
        let note = "for people to look at; what counts is the original, which only [store] head = \"database\" finds";
        let copy = format!("{:#}\n", json!({ "copy_of": original, "note": note, "head": head }));
        let key = self.control_key(HEAD);
        let request = self.client().await.put_object().bucket(self.bucket()).key(&key);
        let request = request.content_type(CONTENT_TYPE).cache_control("no-store");
        let copy = Bytes::from(copy);
        let asked = self.counters.puts.ask();
        let written = async {
            let written = self.within(copy.len(), request.body(ByteStream::from(copy.clone())).send()).await;
            asked.ended(status(&written));
            written
        };
        let reason = match tokio::time::timeout(TIMEOUT, written).await {
            Ok(Ok(_)) => return,
            Ok(Err(failure)) => failure.reason,
            Err(_) => format!("no answer within {}", humantime::format_duration(TIMEOUT)),
        };
        tracing::warn!(
            key,
            reason,
            "the head's copy in the store couldn't be written; the head itself is as it should be"
        );
    }

    /// The error of a copy where the head itself should be.
    pub(super) fn copy_error(&self, original: &str) -> StoreError {
        let (reason, hint) = match &self.head {
            HeadPlace::Row(_) => (
                format!("it isn't there, and {HEAD} in the store is a copy of {original}"),
                "name that database in [store] head_url, and write [store] endpoint as the other publishers do",
            ),
            _ => (
                format!("it is only a copy of {original}"),
                "set [store] head = \"database\", and head_url if [database] url names another one",
            ),
        };
        StoreError {
            action: "read",
            object: self.head_name(),
            reason,
            hint: Some(format!(
                "{hint}. Where that database is lost, or to keep the head in the store again: stop all publishers, and \
                 replace {} by the value of its own member `head`",
                self.key_url(&self.control_key(HEAD))
            )),
            is_general: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_no_copy() {
        assert_eq!(original(b"{\"format\":1,\"seq\":7,\"desired\":null}"), None);
        assert_eq!(original(b"7"), None);
        assert_eq!(original(b"{\"copy_of\":\"x\",\"head\":{\"format\":1}}").as_deref(), Some("x"));
    }
}

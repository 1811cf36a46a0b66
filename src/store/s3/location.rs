//! `s3://bucket/prefix`: where the documents of a store lie, and where its own records do.

/// A bucket and a prefix within it, which is empty or ends in `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The bucket.
    pub bucket: String,
    /// What every key begins with.
    pub prefix: String,
}

/// The folder of a bucket in which the records of its stores lie by default.
const CONTROL: &str = "_tintype/";
/// Longest prefix in bytes: a key has at most 1,024, and an object path up to 900.
const MAX_PREFIX_LEN: usize = 100;

impl Location {
    /// Reads `s3://bucket/prefix`; an error is what is wrong and what to write instead.
    pub fn parse(url: &str) -> Result<Location, (String, String)> {
        let hint = || "write s3://BUCKET/PREFIX, for example s3://example-bucket/site".to_owned();
        let fail = |reason: &str| Err((format!("`{url}` {reason}"), hint()));
        let rest = url.split_once("://").filter(|(scheme, _)| scheme.eq_ignore_ascii_case("s3")).map(|(_, rest)| rest);
        let Some(rest) = rest else { return fail("isn't the URL of a bucket") };
        let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
        if bucket.is_empty() {
            return fail("names no bucket");
        }
        if bucket.contains(['@', ':']) {
            return Err((
                // The text may hold a password, so it isn't repeated.
                "the store URL names a user, a port or an ARN where the bucket's name should stand".to_owned(),
                "credentials come from AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY or a profile, and the server's \
                 address from [store] endpoint"
                    .to_owned(),
            ));
        }
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(is_name) {
            return fail("names a bucket that can't exist: 3 to 63 letters, digits, `.`, `-` and `_`");
        }
        let prefix = prefix.trim_end_matches('/');
        if prefix.split('/').any(|part| matches!(part, "." | ".."))
            || (prefix.contains("//") || prefix.starts_with('/'))
        {
            return fail("has an empty, `.` or `..` segment in its prefix");
        }
        if prefix.contains(['?', '#', '\\', '%']) || prefix.chars().any(char::is_control) {
            return fail("has a `?`, `#`, `%`, `\\` or a control character in its prefix");
        }
        if prefix.len() > MAX_PREFIX_LEN {
            return fail("has a prefix of more than 100 bytes, and keys have room for 1,024 in all");
        }
        let prefix = if prefix.is_empty() { String::new() } else { format!("{prefix}/") };
        Ok(Location { bucket: bucket.to_owned(), prefix })
    }

    /// Where the records go without a setting: beside the documents, under `_tintype/`.
    #[must_use]
    pub fn default_control(&self) -> Location {
        Location { bucket: self.bucket.clone(), prefix: format!("{CONTROL}{}", self.prefix) }
    }

    /// Why these two can't be the documents' and the records' place.
    ///
    /// A store without a prefix is the whole bucket, so its records can only lie within; they must then be kept from
    /// readers by the bucket's policy or the edge, and no document may get among them.
    pub fn refuse_control(&self, control: &Location) -> Option<(String, String)> {
        let hint = || format!("leave the key out for {}, or name another prefix", self.default_control().url());
        if self.bucket != control.bucket {
            let reason = format!("[store] control is in the bucket {}, not in {}", control.bucket, self.bucket);
            return Some((reason, hint()));
        }
        if control.prefix.is_empty() || self.prefix.starts_with(&control.prefix) {
            return Some((format!("the documents would lie among the records in {}", control.url()), hint()));
        }
        if !self.prefix.is_empty() && control.prefix.starts_with(&self.prefix) {
            let reason = format!("[store] control lies in {}, where readers could fetch it", self.url());
            return Some((reason, hint()));
        }
        None
    }

    /// The URL.
    pub fn url(&self) -> String {
        format!("s3://{}/{}", self.bucket, self.prefix.trim_end_matches('/'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Location {
        Location::parse(url).unwrap_or_else(|refusal| panic!("{url}: {refusal:?}"))
    }

    #[test]
    fn a_prefix_ends_in_a_slash_or_is_empty() {
        assert_eq!(parse("s3://bucket/a/b/"), Location { bucket: "bucket".into(), prefix: "a/b/".into() });
        assert_eq!(parse("S3://bucket").prefix, "");
        assert_eq!(parse("s3://bucket/").url(), "s3://bucket/");
        assert_eq!(parse("s3://bucket/site").default_control().url(), "s3://bucket/_tintype/site");
        assert_eq!(parse("s3://bucket").default_control().prefix, "_tintype/");
    }

    #[test]
    fn refused() {
        for url in [
            "s3:bucket",
            "s3://",
            "s3://ab/x",
            "s3://b ucket/x",
            "s3://bucket//x",
            "s3://bucket/x/../y",
            "s3://bucket/x?y=1",
            "s3://user:secret@bucket/x",
            "https://bucket/x",
        ] {
            let (reason, hint) = Location::parse(url).unwrap_err();
            assert!(!reason.contains("secret") && !hint.is_empty(), "{reason}");
        }
    }

    #[test]
    fn records_and_documents_lie_apart() {
        let site = parse("s3://bucket/site");
        assert_eq!(site.refuse_control(&site.default_control()), None);
        for wrong in ["s3://other/_tintype", "s3://bucket", "s3://bucket/site", "s3://bucket/site/control"] {
            assert!(site.refuse_control(&parse(wrong)).is_some(), "{wrong}");
        }
        assert!(site.refuse_control(&parse("s3://bucket/site-control")).is_none());
        let whole = parse("s3://bucket");
        assert!(whole.refuse_control(&parse("s3://bucket/_tintype")).is_none());
        assert!(whole.refuse_control(&whole).is_some());
    }
}

//! A bucket in memory: what a publisher and an uploader ask of S3, and no more.
//!
//! Conditions are checked and applied under one lock, so compare-and-swap holds.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

use futures_util::TryStreamExt as _;
use hyper::body::Bytes;
use s3s::crypto::{Checksum as _, Md5};
use s3s::dto::{
    CommonPrefix, CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, DeleteObjectInput,
    DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject, ETag, ETagCondition, GetObjectInput,
    GetObjectOutput, HeadBucketInput, HeadBucketOutput, HeadObjectInput, HeadObjectOutput, ListObjectsV2Input,
    ListObjectsV2Output, Metadata, MetadataDirective, PutObjectInput, PutObjectOutput, StreamingBlob, Timestamp,
};
use s3s::{Body, S3, S3Request, S3Response, S3Result, s3_error};

/// One bucket.
pub struct Memory {
    bucket: String,
    objects: RwLock<BTreeMap<String, Arc<Object>>>,
}

struct Object {
    body: Bytes,
    etag: ETag,
    modified: SystemTime,
    headers: Headers,
}

#[derive(Clone, Default)]
struct Headers {
    cache_control: Option<String>,
    content_encoding: Option<String>,
    content_type: Option<String>,
    metadata: Option<Metadata>,
}

impl Memory {
    /// An empty bucket.
    pub fn new(bucket: &str) -> Memory {
        Memory { bucket: bucket.to_owned(), objects: RwLock::default() }
    }

    fn check(&self, bucket: &str) -> S3Result<()> {
        if bucket == self.bucket { Ok(()) } else { Err(s3_error!(NoSuchBucket)) }
    }

    fn find(&self, bucket: &str, key: &str) -> S3Result<Arc<Object>> {
        self.check(bucket)?;
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        objects.get(key).cloned().ok_or_else(|| s3_error!(NoSuchKey))
    }

    fn insert(
        &self,
        key: String,
        object: Object,
        if_match: Option<&ETagCondition>,
        if_none_match: Option<&ETagCondition>,
    ) -> S3Result<()> {
        let mut objects = self.objects.write().unwrap_or_else(PoisonError::into_inner);
        let there = objects.get(&key);
        let meets = |condition: &ETagCondition| {
            there.is_some_and(|there| match condition {
                ETagCondition::Any => true,
                ETagCondition::ETag(etag) => there.etag.strong_cmp(etag),
            })
        };
        if if_match.is_some() && there.is_none() {
            return Err(s3_error!(NoSuchKey));
        }
        if if_match.is_some_and(|condition| !meets(condition)) || if_none_match.is_some_and(meets) {
            return Err(s3_error!(PreconditionFailed));
        }
        objects.insert(key, Arc::new(object));
        Ok(())
    }

    fn remove(&self, key: &str) {
        self.objects.write().unwrap_or_else(PoisonError::into_inner).remove(key);
    }
}

fn etag(body: &[u8]) -> ETag {
    use std::fmt::Write as _;
    let mut hex = String::with_capacity(32);
    for byte in Md5::checksum(body) {
        // Writing to a String cannot fail.
        let _ = write!(hex, "{byte:02x}");
    }
    ETag::Strong(hex)
}

fn length(body: &Bytes) -> Option<i64> {
    i64::try_from(body.len()).ok()
}

#[async_trait::async_trait]
impl S3 for Memory {
    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.check(&request.input.bucket)?;
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let mut input = request.input;
        self.check(&input.bucket)?;
        let mut body =
            Vec::with_capacity(input.content_length.and_then(|length| usize::try_from(length).ok()).unwrap_or(0));
        if let Some(mut stream) = input.body.take() {
            while let Some(bytes) = stream.try_next().await.map_err(|error| s3_error!(IncompleteBody, "{error}"))? {
                body.extend_from_slice(&bytes);
            }
        }
        let etag = etag(&body);
        let object = Object {
            body: body.into(),
            etag: etag.clone(),
            modified: SystemTime::now(),
            headers: Headers {
                cache_control: input.cache_control,
                content_encoding: input.content_encoding,
                content_type: input.content_type,
                metadata: input.metadata,
            },
        };
        self.insert(input.key, object, input.if_match.as_ref(), input.if_none_match.as_ref())?;
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(etag), ..Default::default() }))
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let input = request.input;
        self.check(&input.bucket)?;
        let CopySource::Bucket { bucket, key, .. } = &input.copy_source else { return Err(s3_error!(NotImplemented)) };
        let source = self.find(bucket, key)?;
        let replaces = input.metadata_directive.as_ref().is_some_and(|it| it.as_str() == MetadataDirective::REPLACE);
        let headers = match replaces {
            false => source.headers.clone(),
            true => Headers {
                cache_control: input.cache_control,
                content_encoding: input.content_encoding,
                content_type: input.content_type,
                metadata: input.metadata,
            },
        };
        let modified = SystemTime::now();
        let object = Object { body: source.body.clone(), etag: source.etag.clone(), modified, headers };
        self.insert(input.key, object, None, None)?;
        let result = CopyObjectResult {
            e_tag: Some(source.etag.clone()),
            last_modified: Some(Timestamp::from(modified)),
            ..Default::default()
        };
        Ok(S3Response::new(CopyObjectOutput { copy_object_result: Some(result), ..Default::default() }))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let object = self.find(&request.input.bucket, &request.input.key)?;
        let headers = object.headers.clone();
        Ok(S3Response::new(GetObjectOutput {
            content_length: length(&object.body),
            body: Some(StreamingBlob::from(Body::from(object.body.clone()))),
            e_tag: Some(object.etag.clone()),
            last_modified: Some(Timestamp::from(object.modified)),
            cache_control: headers.cache_control,
            content_encoding: headers.content_encoding,
            content_type: headers.content_type,
            metadata: headers.metadata,
            ..Default::default()
        }))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let object = self.find(&request.input.bucket, &request.input.key)?;
        let headers = object.headers.clone();
        Ok(S3Response::new(HeadObjectOutput {
            content_length: length(&object.body),
            e_tag: Some(object.etag.clone()),
            last_modified: Some(Timestamp::from(object.modified)),
            cache_control: headers.cache_control,
            content_encoding: headers.content_encoding,
            content_type: headers.content_type,
            metadata: headers.metadata,
            ..Default::default()
        }))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.check(&request.input.bucket)?;
        self.remove(&request.input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.check(&request.input.bucket)?;
        let mut deleted = Vec::new();
        for object in request.input.delete.objects {
            self.remove(&object.key);
            deleted.push(DeletedObject { key: Some(object.key), ..Default::default() });
        }
        Ok(S3Response::new(DeleteObjectsOutput { deleted: Some(deleted), ..Default::default() }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        self.check(&input.bucket)?;
        let prefix = input.prefix.unwrap_or_default();
        let after = input.continuation_token.or(input.start_after).unwrap_or_default();
        let most = usize::try_from(input.max_keys.unwrap_or(1000)).unwrap_or(1000).min(1000);
        let mut contents = Vec::new();
        let mut folders: Vec<CommonPrefix> = Vec::new();
        let mut next = None;
        let mut last = String::new();
        let objects = self.objects.read().unwrap_or_else(PoisonError::into_inner);
        for (key, object) in objects.range(prefix.clone()..).take_while(|(key, _)| key.starts_with(&prefix)) {
            let folder = input.delimiter.as_deref().filter(|delimiter| !delimiter.is_empty()).and_then(|delimiter| {
                let at = key[prefix.len()..].find(delimiter)?;
                Some(key[..prefix.len() + at + delimiter.len()].to_owned())
            });
            // A folder stands for all of its keys, also when the last page ended with it.
            let name = folder.as_deref().unwrap_or(key);
            if name <= after.as_str() || (folder.is_some() && name == last) {
                continue;
            }
            if contents.len() + folders.len() == most {
                next = Some(last);
                break;
            }
            name.clone_into(&mut last);
            match folder {
                Some(folder) => folders.push(CommonPrefix { prefix: Some(folder) }),
                None => contents.push(s3s::dto::Object {
                    key: Some(key.clone()),
                    size: length(&object.body),
                    e_tag: Some(object.etag.clone()),
                    last_modified: Some(Timestamp::from(object.modified)),
                    ..Default::default()
                }),
            }
        }
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(prefix),
            key_count: i32::try_from(contents.len() + folders.len()).ok(),
            is_truncated: Some(next.is_some()),
            next_continuation_token: next,
            contents: Some(contents),
            common_prefixes: Some(folders),
            ..Default::default()
        }))
    }
}

//! s3s-fs with what a test and a benchmark need besides: buckets that must exist, and a copy that moves no bytes.
//!
//! s3s-fs copies into the file that is there, where a reader could meet half of it, and writes every byte twice. Here a
//! copy is a hard link that is renamed over the old one, which is safe because s3s-fs itself only ever writes new files.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::SystemTime;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use s3s::dto::{
    CopyObjectInput, CopyObjectOutput, CopyObjectResult, CopySource, DeleteObjectInput, DeleteObjectOutput,
    DeleteObjectsInput, DeleteObjectsOutput, ETag, GetObjectInput, GetObjectOutput, HeadBucketInput, HeadBucketOutput,
    HeadObjectInput, HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output, MetadataDirective, PutObjectInput,
    PutObjectOutput, Timestamp,
};
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};
use s3s_fs::FileSystem;
use serde_json::{Value, json};

use super::faults::Part;

/// The objects.
pub struct Backend {
    files: FileSystem,
    root: PathBuf,
    links: AtomicU64,
}

impl Backend {
    /// The objects in a folder.
    pub fn new(root: &Path) -> io::Result<Backend> {
        let files = FileSystem::new(root).map_err(|error| io::Error::other(format!("{error:?}")))?;
        Ok(Backend { files, root: root.to_owned(), links: AtomicU64::new(0) })
    }

    fn bucket(&self, bucket: &str) -> S3Result<PathBuf> {
        let path = self.root.join(bucket);
        if path.is_dir() { Ok(path) } else { Err(s3_error!(NoSuchBucket, "The specified bucket does not exist")) }
    }

    /// The file that s3s-fs keeps beside the objects.
    fn sidecar(&self, bucket: &str, key: &str, kind: &str) -> PathBuf {
        let (bucket, key) = (URL_SAFE_NO_PAD.encode(bucket), URL_SAFE_NO_PAD.encode(key));
        self.root.join(format!(".bucket-{bucket}.object-{key}.{kind}.json"))
    }

    /// The `ETag` that s3s-fs answers with everywhere but in a listing.
    fn tag(&self, bucket: &str, key: &str) -> Option<String> {
        let info: Value = serde_json::from_slice(&std::fs::read(self.sidecar(bucket, key, "internal")).ok()?).ok()?;
        info["e_tag"].as_str().map(str::to_owned)
    }

    fn temporary(&self) -> PathBuf {
        self.root.join(format!(".link.{}", self.links.fetch_add(1, Ordering::Relaxed)))
    }

    fn copy(&self, from: (&str, &str), input: &CopyObjectInput) -> io::Result<(String, SystemTime)> {
        let target = self.root.join(&input.bucket).join(&input.key);
        let source = self.root.join(from.0).join(from.1);
        self.link(&source, &target)?;
        let info = self.sidecar(from.0, from.1, "internal");
        self.link(&info, &self.sidecar(&input.bucket, &input.key, "internal"))?;
        let attributes = self.sidecar(&input.bucket, &input.key, "metadata");
        let replace = input.metadata_directive.as_ref().map(MetadataDirective::as_str);
        if replace == Some(MetadataDirective::REPLACE) {
            let temporary = self.temporary();
            std::fs::write(&temporary, attributes_of(input).to_string())?;
            std::fs::rename(&temporary, attributes)?;
        } else {
            self.link(&self.sidecar(from.0, from.1, "metadata"), &attributes)?;
        }
        let info: Value = serde_json::from_slice(&std::fs::read(info)?)?;
        let tag = info["e_tag"].as_str().ok_or_else(|| io::Error::other("the source has no ETag"))?;
        Ok((tag.to_owned(), std::fs::metadata(&source)?.modified()?))
    }

    fn link(&self, from: &Path, to: &Path) -> io::Result<()> {
        if from == to {
            return Ok(());
        }
        let temporary = self.temporary();
        std::fs::hard_link(from, &temporary)?;
        if let Some(parent) = to.parent() {
            std::fs::create_dir_all(parent)?;
        }
        std::fs::rename(&temporary, to)?;
        // A rename between two names of one file does nothing and leaves both.
        let _ = std::fs::remove_file(&temporary);
        Ok(())
    }
}

/// As s3s-fs writes them.
fn attributes_of(input: &CopyObjectInput) -> Value {
    let mut attributes = json!({});
    let texts = [
        ("content_encoding", &input.content_encoding),
        ("content_type", &input.content_type),
        ("cache_control", &input.cache_control),
    ];
    for (name, text) in texts {
        if let Some(text) = text {
            attributes[name] = json!(text);
        }
    }
    if let Some(metadata) = &input.metadata {
        attributes["user_metadata"] = json!(metadata);
    }
    attributes
}

#[async_trait::async_trait]
impl S3 for Backend {
    async fn put_object(&self, mut request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        if request.extensions.get() == Some(&Part::Conditions) {
            (request.input.if_match, request.input.if_none_match) = (None, None);
        }
        self.bucket(&request.input.bucket)?;
        self.files.put_object(request).await
    }

    async fn copy_object(&self, request: S3Request<CopyObjectInput>) -> S3Result<S3Response<CopyObjectOutput>> {
        let mut input = request.input;
        if request.extensions.get() == Some(&Part::Headers) {
            input.metadata_directive = None;
        }
        let CopySource::Bucket { bucket, key, .. } = &input.copy_source else {
            return Err(s3_error!(NotImplemented));
        };
        self.bucket(&input.bucket)?;
        if !self.bucket(bucket)?.join(&**key).is_file() {
            return Err(s3_error!(NoSuchKey, "The specified key does not exist"));
        }
        let copied = self.copy((bucket, key), &input);
        let (tag, modified) = copied.map_err(|error| s3_error!(InternalError, "{error}"))?;
        let result = CopyObjectResult {
            e_tag: Some(ETag::Strong(tag)),
            last_modified: Some(Timestamp::from(modified)),
            ..CopyObjectResult::default()
        };
        let output = CopyObjectOutput { copy_object_result: Some(result), ..CopyObjectOutput::default() };
        Ok(S3Response::new(output))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let path = self.bucket(&request.input.bucket)?.join(&request.input.key);
        if path.is_dir() {
            return Err(s3_error!(NoSuchKey, "The specified key does not exist"));
        }
        self.files.get_object(request).await
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        self.bucket(&request.input.bucket)?;
        self.files.head_object(request).await
    }

    async fn head_bucket(&self, request: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        self.files.head_bucket(request).await
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.bucket(&request.input.bucket)?;
        self.files.delete_object(request).await
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.bucket(&request.input.bucket)?;
        self.files.delete_objects(request).await
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let bucket = request.input.bucket.clone();
        self.bucket(&bucket)?;
        let mut listed = self.files.list_objects_v2(request).await?;
        for object in listed.output.contents.iter_mut().flatten() {
            object.e_tag = object.key.as_ref().and_then(|key| self.tag(&bucket, key)).map(ETag::Strong);
        }
        Ok(listed)
    }
}

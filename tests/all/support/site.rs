//! A published site on either kind of store, with access to the files behind it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;

use super::bucket::{BUCKET, Bucket};
use super::directory::files_below;
use super::places;
use super::project::Project;

const DAY: Duration = Duration::from_hours(24);

/// A project over the small world, and its bucket if it has one.
pub struct Site {
    pub project: Project,
    pub bucket: Option<Bucket>,
}

impl Site {
    /// One in a folder.
    pub fn in_folder() -> Site {
        Site { project: places::sqlite(), bucket: None }
    }

    /// One in a bucket.
    pub fn in_bucket() -> Site {
        let (bucket, mut project) = (Bucket::new(), places::sqlite());
        project.publish_to(&bucket, "");
        Site { project, bucket: Some(bucket) }
    }

    /// One of each.
    pub fn on_each() -> [Site; 2] {
        [Site::in_folder(), Site::in_bucket()]
    }

    /// The bucket of a site that has one.
    #[track_caller]
    pub fn bucket(&self) -> &Bucket {
        self.bucket.as_ref().expect("the site is in a bucket")
    }

    /// The folder of blobs, lists and roots.
    pub fn control(&self) -> PathBuf {
        match &self.bucket {
            Some(bucket) => bucket.server.file(&format!("{BUCKET}/_tintype/site")),
            None => self.project.root().join(".tintype"),
        }
    }

    /// The file of a document.
    pub fn file(&self, path: &str) -> PathBuf {
        match &self.bucket {
            Some(bucket) => bucket.server.file(&format!("{BUCKET}/site/{path}")),
            None => self.project.public().file(path),
        }
    }

    /// Puts bytes at a path, as a file of its own.
    pub fn put(&self, path: &str, bytes: &[u8]) {
        put(&self.file(path), bytes);
    }

    /// The digests of all documents.
    pub fn digests(&self) -> BTreeMap<String, String> {
        match &self.bucket {
            Some(bucket) => bucket.digests(),
            None => self.project.public().digests(),
        }
    }

    /// The head.
    pub fn head(&self) -> Value {
        match &self.bucket {
            Some(bucket) => bucket.head(),
            None => self.project.head(),
        }
    }

    /// Writes the head as another process might have left it.
    pub fn write_head(&self, head: &Value) {
        put(&self.control().join("head.json"), head.to_string().as_bytes());
    }

    /// The names of blobs, lists and roots.
    pub fn objects(&self) -> Vec<String> {
        let is_object = |name: &String| ["blob/", "shard/", "release/"].iter().any(|folder| name.starts_with(folder));
        files_below(&self.control()).into_iter().filter(is_object).collect()
    }

    /// The file of the newest blob with a digest.
    #[track_caller]
    pub fn blob(&self, digest: &str) -> PathBuf {
        let mut blobs = self.objects().into_iter().filter(|name| name.contains(digest));
        self.control().join(blobs.next_back().expect("there is such a blob"))
    }

    /// Everything that is there was written so long ago.
    pub fn age(&self, days: u32) {
        let then = SystemTime::now() - DAY * days;
        for name in self.objects() {
            let file = File::open(self.control().join(name)).expect("open the object");
            file.set_modified(then).expect("date the object");
        }
    }

    /// Changes three documents and publishes.
    #[track_caller]
    pub fn edit(&self, city: &str) -> Value {
        self.project.execute(&format!("UPDATE fact SET city = '{city}' WHERE city_id = 1"));
        self.project.publish()
    }

    /// Releases one after the other, each with three changed documents; their ids.
    #[track_caller]
    pub fn publish(&self, cities: &[&str]) -> Vec<String> {
        let id = |said: Value| said["release"].as_str().expect("a release").to_owned();
        cities.iter().map(|city| id(self.edit(city))).collect()
    }
}

/// Puts bytes at a name in place of whatever is there: a file of its own, and not the blob that it was a link to.
fn put(file: &Path, bytes: &[u8]) {
    let _ = fs::remove_file(file);
    fs::create_dir_all(file.parent().expect("it has one")).expect("make the folder");
    fs::write(file, bytes).expect("write the file");
}

//! `publish --retire` and `publish --failed`: which templates are meant.

use serde_json::json;

use super::Outcome;
use super::confirm::confirm;
use super::context::{Context, Project};
use super::print::{self, counted};
use super::publish::Keys;
use crate::diagnostic::did_you_mean;
use crate::error::Error;
use crate::release::head::HeadRead;
use crate::release::manifest::{Root, Status};

/// The templates to take out of the site, each part of the release and without a file.
pub async fn retired(
    context: &Context,
    project: &Project,
    names: Vec<String>,
    commit: bool,
) -> Result<Vec<String>, Error> {
    if names.is_empty() {
        return Ok(names);
    }
    let root = committed(project).await?;
    let mut documents = 0;
    for name in &names {
        if project.has_file(name) {
            return Err(Error::usage(
                format!("the template {name} has a file, so the next publish would bring it back"),
                format!("remove {} first", project.config.paths.templates_shown.join(format!("{name}.sql")).display()),
            ));
        }
        let entry = root.as_ref().and_then(|root| root.templates.get(name)).filter(|_| name != "index");
        let Some(entry) = entry else {
            let known = root.iter().flat_map(|root| root.templates.keys()).map(String::as_str);
            let hint = match did_you_mean(name, known.filter(|name| *name != "index")) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "`tintype status` lists the templates of the release".to_owned(),
            };
            return Err(Error::usage(format!("the release has no template `{name}`"), hint));
        };
        documents += entry.count;
    }
    if commit {
        confirm(context, &format!("remove {} of {}", counted(documents, "document"), names.join(", ")))?;
    }
    Ok(names)
}

/// The templates whose last run failed, as keys.
pub async fn failed_templates(project: &Project) -> Result<Keys, Error> {
    let head = HeadRead::read(&project.store).await?.head;
    let root = committed(project).await?;
    if root.is_none()
        && let Some(lost) = project.lost().await.ok().flatten()
    {
        return Err(lost);
    }
    let is_last_good = |name: &str| {
        root.iter().any(|root| root.templates.get(name).is_some_and(|entry| entry.status == Status::LastGood))
    };
    let names = project.templates.iter().map(|template| &template.name);
    let keys = names.filter(|name| head.failed.contains_key(*name) || is_last_good(name)).cloned().collect();
    Ok(Keys { keys, conditions: Vec::new() })
}

/// What `publish --failed` says where nothing has.
pub fn nothing_failed(context: &Context) -> Outcome {
    if context.is_json() {
        print::json(&json!({ "version": 1, "command": context.command, "outcome": "unchanged", "templates": [] }));
    } else if context.is_talkative() {
        print::note("No template's last run failed");
    }
    Outcome::Done
}

async fn committed(project: &Project) -> Result<Option<Root>, Error> {
    let head = HeadRead::read(&project.store).await?.head;
    match &head.desired {
        Some(desired) => Ok(Some(Root::read(&project.store, desired).await?)),
        None => Ok(None),
    }
}

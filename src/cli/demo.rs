//! `demo`: the whole idea working, from nothing, on this machine.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::Args;

use super::context::{Context, Project};
use super::print::{self, styled};
use super::publish::{self, Keys};
use super::signals::Signals;
use super::{Outcome, init};
use crate::config::Config;
use crate::demo::server::{self, Link};
use crate::error::Error;
use crate::release::head::HeadRead;
use crate::release::manifest::Root;
use crate::release::{Phase, Report};
use crate::scaffold;

/// Options of `demo`.
#[derive(Debug, Args)]
pub struct Demo {
    /// The folder to use: new, empty, or one that an earlier demo wrote.
    #[arg(long, value_name = "DIR", default_value = "tintype-demo")]
    dir: PathBuf,
    /// The port to serve on; a busy one moves to the next.
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    port: u16,
    /// Publish and end.
    #[arg(long)]
    no_serve: bool,
}

/// What the start page and the command point at.
const LINKS: [(&str, &str); 4] = [
    ("index.json", "The catalogue"),
    ("world-map/crispr/low.json", "World map: CRISPR, every confidence"),
    ("country-map/united-states/crispr/low.json", "Country map: CRISPR in the United States"),
    ("city-map/united-states/boston/crispr/low.json", "City map: CRISPR in Boston"),
];

impl Demo {
    pub async fn run(self, context: &Context) -> Result<Outcome, Error> {
        let written = scaffold::init_or_reuse(&self.dir).await?;
        let talk = !context.is_json() && !context.global.quiet;
        if talk {
            init::show(&written);
        }
        // The demo publishes its own data, whatever the environment says of other databases.
        let project = Project::open(Config::load(&written.config, &[])?)?;
        let started = Instant::now();
        let job = publish::job(&project, &Keys { keys: Vec::new(), conditions: Vec::new() })?;
        let report = publish::execute(context, &project, &job, &project.database()?).await?;
        if context.is_json() {
            publish::show(context, &job, &report, &project);
        } else if talk {
            tell(&report, &project, started);
        }
        let outcome = publish::outcome(&report);
        if self.no_serve {
            return Ok(outcome);
        }
        self.serve(context, &project, talk).await?;
        Ok(outcome)
    }

    async fn serve(&self, context: &Context, project: &Project, talk: bool) -> Result<(), Error> {
        let Some(public) = project.store.public_directory().map(Path::to_owned) else {
            let hint = "`tintype publish` publishes there; for the demo, name a new folder: `tintype demo --dir DIR`";
            return Err(Error::usage("the demo serves from a folder, and its [store] url is now another", hint));
        };
        let policies = Arc::new(policies(project).await?);
        let links = LINKS.map(|(path, label)| Link { path: path.to_owned(), label: label.to_owned() });
        let router = server::router(public, &links, move |path| policies.cache_control(path));
        let listening = |error: std::io::Error| Error::Local {
            action: "listen on",
            object: format!("127.0.0.1 port {} or one of the next", self.port),
            reason: error.to_string(),
        };
        let (listener, address) = server::bind(self.port).await.map_err(listening)?;
        if talk {
            print::note(&format!(
                "Serving {} on {}",
                project.store.describe(),
                styled(print::CYAN, format!("http://{address}/"))
            ));
            for (path, label) in LINKS {
                print::note(&format!("  {}  {label}", styled(print::CYAN, format!("http://{address}/{path}"))));
            }
            print::note("Ctrl-C ends it.");
        }
        let mut signals = Signals::new()?;
        context.progress.enter(Phase::Serve, 0);
        let shutdown = async move {
            signals.next().await;
        };
        server::serve(listener, router, shutdown).await.map_err(listening)
    }
}

fn tell(report: &Report, project: &Project, started: Instant) {
    super::report::templates(report);
    let seconds = &report.seconds;
    let release = report.release.as_ref().map(ToString::to_string).unwrap_or_default();
    let word = if report.committed { "Published" } else { "Unchanged" };
    print::note(&format!(
        "{} release {release} in {}: queries {}, merge and commit {}, activation {}; one connection, one statement a template besides its domains",
        styled(print::GREEN, word),
        print::duration(started.elapsed().as_secs_f64()),
        print::duration(seconds.query),
        print::duration(seconds.commit),
        print::duration(seconds.activate),
    ));
    if let Some(public) = project.store.public_directory() {
        let example = public.join("world-map/crispr/low.json.gz");
        print::note(&format!("Look at it: {}", styled(print::CYAN, format!("zcat {}", example.display()))));
    }
}

/// The headers of the active release, by the paths of its templates.
struct Policies {
    by_prefix: Vec<(String, String)>,
}

async fn policies(project: &Project) -> Result<Policies, Error> {
    let head = HeadRead::read(&project.store).await?.head;
    let mut by_prefix: Vec<(String, String)> = Vec::new();
    if let Some(id) = &head.desired {
        let root = Root::read(&project.store, id).await?;
        for template in &project.templates {
            if root.templates.contains_key(&template.name) {
                let prefix = template.pattern.as_str().split('{').next().unwrap_or_default().to_owned();
                by_prefix.push((prefix, template.policy.cache_control.clone()));
            }
        }
    }
    Ok(Policies { by_prefix })
}

impl Policies {
    fn cache_control(&self, path: &str) -> String {
        let found = self.by_prefix.iter().find(|(prefix, _)| path.starts_with(prefix.as_str()));
        found.map_or_else(|| "public, max-age=60".to_owned(), |(_, policy)| policy.clone())
    }
}

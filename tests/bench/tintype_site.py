"""A tintype site to measure: a config, templates, and the runs of the binary over them."""

import json
import pathlib
import shutil
import subprocess
import sys

import measure
from measure import Failed

# Prints a report without its list of changes, which is as long as the site.
WITHOUT_CHANGES = """
import json, sys
report = json.load(open(sys.argv[1]))
for template in report.get("templates", []):
    template.pop("changes", None)
print(json.dumps(report))
"""
DATA = pathlib.Path(__file__).parent / "data"


def country_template(**changes):
    """The country map: the benchmark's query under its front matter, with values of that replaced."""
    lines = []
    for line in (DATA / "country-map-front-matter.toml").read_text().splitlines():
        name = line.split("=")[0].strip()
        lines.append(f'{name} = "{changes.pop(name)}"' if name in changes else line)
    if changes:
        raise Failed(f"country-map-front-matter.toml has no {', '.join(changes)}")
    return "/*---\n" + "\n".join(lines) + "\n---*/\n" + (DATA / "country.sql").read_text()


def served_template():
    """The country map as it is served: the hot half of its topics published, the others answered when they are asked for."""
    front_matter = (DATA / "country-served-front-matter.toml").read_text()
    return "/*---\n" + front_matter + "---*/\n" + (DATA / "country-served.sql").read_text()


class Site:
    """A folder with a config and templates. `store` holds the lines of [store]; by default a folder in this one."""

    def __init__(self, bench, folder, database, templates, store='url = "file:public"', environment=None):
        self.bench, self.folder, self.database, self.store = bench, folder, database, store
        self.environment = environment or {}
        self.config = folder / "tintype.toml"
        self.remove()
        (folder / "templates").mkdir(parents=True)
        self.write(templates)
        self.configure()

    def write(self, templates):
        for name, text in templates.items():
            (self.folder / "templates" / f"{name}.sql").write_text(text)

    def configure(self, settings=""):
        """Writes the config; `settings` are for the database, as an inline table."""
        self.config.write_text(
            f'[database]\nurl = "{self.bench.cluster.dsn(self.database)}"\n'
            + (f"[database.build]\nsettings = {settings}\n" if settings else "")
            + f"[store]\n{self.store}\n"
        )

    def tintype(self, *arguments, watch=None):
        """One run of the binary, as cron would start it: off a terminal, silent unless it fails."""
        command = [self.bench.binary, "-c", self.config, *arguments]
        return measure.run(command, env=self.environment, watch=watch)

    def publish(self, watch=None):
        return self.tintype("publish", watch=watch)

    def report(self, *arguments, watch=None):
        """A run with its own report. It names every change, so this isn't what is timed against others."""
        file = self.folder / "report.json"
        command = [self.bench.binary, "-c", self.config, "--format", "json", *arguments]
        with open(file, "wb") as out:
            done = measure.run(command, env=self.environment, stdout=out, watch=watch)
        # Read by another process: what this one once took counts as the memory of all that it starts from then on.
        short = subprocess.run(
            [sys.executable, "-c", WITHOUT_CHANGES, file], capture_output=True, text=True, check=True
        )
        file.unlink()
        report = json.loads(short.stdout)
        for template in report.get("templates", []):
            if template.get("outcome") == "failed":
                raise Failed(f"the publish failed: {template.get('reason')}")
        return done, report

    def status(self):
        """Keys and serial of what is live, by tintype's own word; everything must be finished."""
        _, status = self.report("status")
        if status["outcome"] != "active":
            raise Failed(f"the release is {status['outcome']}")
        return sum(template["keys"] for template in status["templates"]), status["serial"]

    def clear(self):
        """Forgets what was published into the folder."""
        for name in ("public", ".tintype"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)

//! A small world for tests that change rows: two regions, three topics, a handful of scholars, the same on both engines.

use super::postgres;
use super::project::Project;

/// Tables and rows. Region and topic names are not their own slugs.
pub const ROWS: &str = "
CREATE TABLE country (country_id INTEGER PRIMARY KEY, name TEXT NOT NULL);
INSERT INTO country VALUES (1, 'United States'), (2, 'Côte d''Ivoire');
CREATE TABLE topic (slug TEXT PRIMARY KEY, name TEXT NOT NULL, papers INTEGER NOT NULL);
INSERT INTO topic VALUES ('crispr', 'CRISPR', 30), ('malaria', 'Malaria', 20), ('sepsis', 'Sepsis', 10);
CREATE TABLE fact (fact_id INTEGER PRIMARY KEY, region TEXT NOT NULL, topic TEXT NOT NULL, city_id INTEGER NOT NULL,
                   city TEXT NOT NULL, scholar INTEGER NOT NULL, level INTEGER NOT NULL);
INSERT INTO fact VALUES
  (1, 'United States', 'crispr',  1, 'Boston', 100, 3),
  (2, 'United States', 'crispr',  1, 'Boston', 101, 1),
  (3, 'United States', 'crispr',  2, 'Austin', 102, 2),
  (4, 'United States', 'malaria', 2, 'Austin', 102, 1),
  (5, 'Côte d''Ivoire', 'malaria', 3, 'Abidjan', 103, 3);
";

/// A template over region, topic and confidence, every key column with a domain: 2 × 3 × 3 documents.
pub const TEMPLATE: &str = r#"/*---
path = "places/{region}/{topic}/{confidence}.json"
page_url = "https://example.org/map?region={region}&topic={topic}&confidence={confidence}"
[keys.region]
sql = "SELECT name AS region FROM country ORDER BY country_id"
[keys.topic]
sql = "SELECT slug AS topic, name AS label FROM topic ORDER BY papers DESC, slug"
[keys.confidence]
values = ["low", "medium", "high"]
---*/
SELECT f.region, f.topic, l.confidence, f.city, count(DISTINCT f.scholar) AS scholars
FROM fact AS f
JOIN country AS c ON c.name = f.region
JOIN topic AS t ON t.slug = f.topic
CROSS JOIN (SELECT 1 AS level, 'low' AS confidence UNION ALL SELECT 2, 'medium' UNION ALL SELECT 3, 'high') AS l
WHERE f.level >= l.level /*:keys region=f.region, topic=f.topic */
GROUP BY c.country_id, t.papers, f.region, f.topic, l.level, l.confidence, f.city_id, f.city
ORDER BY c.country_id, t.papers DESC, l.level, scholars DESC, f.city_id
"#;

/// Every document of the template.
pub const DOCUMENTS: usize = 18;

/// A project over this world on each engine that is here; SQLite always is.
pub fn projects() -> Vec<(&'static str, Project)> {
    projects_over(ROWS)
        .into_iter()
        .map(|(engine, project)| {
            project.template("places", TEMPLATE);
            (engine, project)
        })
        .collect()
}

/// A project over this world on SQLite, for what doesn't depend on the engine.
pub fn sqlite() -> Project {
    let project = Project::sqlite(ROWS);
    project.template("places", TEMPLATE);
    project
}

/// A project without templates over the database that `sql` makes, on each engine that is here.
pub fn projects_over(sql: &str) -> Vec<(&'static str, Project)> {
    let mut projects = vec![("SQLite", Project::sqlite(sql))];
    if let Some(database) = postgres::database() {
        database.execute(sql);
        projects.push(("PostgreSQL", Project::postgres(database)));
    }
    projects
}

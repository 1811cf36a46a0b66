/*---
# One snapshot per city, topic and confidence: every institution with its scholars.
path       = "city-map/{region}/{city}/{topic}/{confidence}.json"
shape      = "rows"
max_age    = "60s"
edge_ttl   = "1d"
cache_tags = ["city-map", "region:{region}", "topic:{topic}"]
on_miss    = "live"                                  # a city outside the hot set is answered from the database

# Region and city belong together: Cambridge is in four countries, Paris in one. Only the pairs that this query returns are keys.
[keys.city]
sql     = "SELECT country AS region, name AS city FROM city ORDER BY authorships DESC, city_id"
publish = 120                                        # the hot set: the busiest cities are pre-built, all are valid

[keys.topic]
sql     = "SELECT slug AS topic, name AS label FROM topic ORDER BY papers DESC, topic_id"

[keys.confidence]
values  = ["low", "medium", "high"]

[limits]                                             # of `tintype serve`, for keys outside the published set
per_minute = 30                                      # answers a minute that one client may cost the database
ttl        = "10m"                                   # how long such an answer stands
---*/

-- Each author's best confidence in each institution first (see world-map.sql for the reason) …
WITH scholar AS (
    SELECT p.topic_id, a.country, a.city, a.institution_id, a.author_id, max(a.affiliation_confidence) AS best
    FROM authorship AS a
    JOIN paper AS p ON p.pmid = a.pmid
    JOIN topic AS t ON t.topic_id = p.topic_id
    WHERE a.city <> '' /*:keys region=a.country, city=a.city, topic=t.slug */
    GROUP BY p.topic_id, a.country, a.city, a.institution_id, a.author_id
),
-- … then rows counted at each level.
scholars AS (
    SELECT topic_id, country, city, institution_id, max(best) AS best,
           count(*) AS low,
           count(*) FILTER (WHERE best >= 2) AS medium,
           count(*) FILTER (WHERE best >= 3) AS high
    FROM scholar
    GROUP BY topic_id, country, city, institution_id
)
SELECT c.country AS region,
       c.name AS city,
       t.slug AS topic,
       l.confidence,
       i.name AS institution,
       CASE l.level WHEN 1 THEN s.low WHEN 2 THEN s.medium ELSE s.high END AS scholars
FROM scholars AS s
JOIN topic AS t ON t.topic_id = s.topic_id
JOIN city AS c ON c.country = s.country AND c.name = s.city
JOIN institution AS i ON i.institution_id = s.institution_id
CROSS JOIN (SELECT 1 AS level, 'low' AS confidence UNION ALL SELECT 2, 'medium' UNION ALL SELECT 3, 'high') AS l
WHERE l.level <= s.best
ORDER BY c.city_id, s.topic_id, l.level, scholars DESC, s.institution_id

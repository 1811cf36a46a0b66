"""The usual API: a query for every request, over SQLAlchemy's pool of 20 connections and 30 more.

uvicorn peer_api:app                        PEER_DSN names the database
"""

import os
import re

from fastapi import FastAPI, HTTPException
from sqlalchemy import create_engine, text

url = os.environ["PEER_DSN"].replace("postgres://", "postgresql+psycopg://", 1)
engine = create_engine(
    url,
    pool_size=20,
    max_overflow=30,
    pool_timeout=30,
    pool_recycle=1800,
    connect_args={"application_name": "peer_api"},
)
query = text(
    """select c.city, c.lat, c.lon, count(distinct a.author_id) scholars
       from authorship a join paper p using(pmid) join topic t using(topic_id) join city c using(city_id)
       where t.slug = :topic and c.country = :country and a.confidence >= :level
       group by c.city_id, 1, 2, 3 order by 4 desc, 1, c.city_id"""
)
levels = {"low": 1, "medium": 2, "high": 3}
# Once, so that no request pays for finding a country by its slug.
with engine.connect() as connection:
    countries = {
        re.sub("[^a-z0-9]+", "-", name.lower()).strip("-"): name
        for (name,) in connection.execute(text("select distinct country from city"))
    }
app = FastAPI()


@app.get("/country-map/{country}/{topic}/{level}.json")
def country_map(country: str, topic: str, level: str):
    if country not in countries or level not in levels:
        raise HTTPException(404)
    with engine.connect() as connection:
        found = connection.execute(query, {"topic": topic, "country": countries[country], "level": levels[level]})
        return [dict(row._mapping) for row in found]

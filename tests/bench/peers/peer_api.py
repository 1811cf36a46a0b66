"""The usual API: a query for every request, over SQLAlchemy's pool of 20 connections and 30 more.

uvicorn peer_api:app                        PEER_DSN names the database
"""

import os

from fastapi import FastAPI
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
       where t.slug = :topic and trim(both '-' from regexp_replace(lower(c.country), '[^a-z0-9]+', '-', 'g')) = :country
       and a.confidence >= :level
       group by 1, 2, 3 order by 4 desc, 1"""
)
levels = {"low": 1, "medium": 2, "high": 3}
app = FastAPI()


@app.get("/country-map/{country}/{topic}/{level}.json")
def country_map(country: str, topic: str, level: str):
    with engine.connect() as connection:
        found = connection.execute(query, {"topic": topic, "country": country, "level": levels[level]})
        return [dict(row._mapping) for row in found]

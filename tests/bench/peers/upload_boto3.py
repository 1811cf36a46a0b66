"""Puts files into a bucket with boto3 and 32 threads.

upload_boto3.py FOLDER COUNT ENDPOINT BUCKET
"""

import itertools
import pathlib
import sys
from concurrent.futures import ThreadPoolExecutor

import boto3
from botocore.config import Config

folder, count, endpoint, bucket = pathlib.Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], sys.argv[4]
settings = Config(s3={"addressing_style": "path"}, max_pool_connections=64)
client = boto3.client("s3", endpoint_url=endpoint, config=settings)
files = list(itertools.islice((file for file in folder.rglob("*") if file.is_file()), count))


def put(file):
    key = f"peer/{file.relative_to(folder)}"
    body = file.read_bytes()
    client.put_object(Bucket=bucket, Key=key, Body=body, ContentEncoding="gzip", ContentType="application/json")


with ThreadPoolExecutor(32) as pool:
    list(pool.map(put, files))
print(f"boto3: {len(files)} files")

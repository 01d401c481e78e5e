"""Fetches a list of URLs with Scrapy and writes the results into MySQL in batches."""

import argparse
import os

import pymysql
import scrapy
from scrapy.crawler import CrawlerProcess
from yarl import URL

parser = argparse.ArgumentParser()
parser.add_argument("--urls", required=True)
parser.add_argument("--concurrency", type=int, default=100)
parser.add_argument("--batch", type=int, default=500)
args = parser.parse_args()


class IntoMySQL:
    def open_spider(self):
        database = URL(os.environ["DATABASE_URL"])
        self.connection = pymysql.connect(
            host=database.host,
            port=database.port,
            user=database.user,
            password=database.password or "",
            database=database.path.strip("/"),
            charset="utf8mb4",
        )
        with self.connection.cursor() as cursor:
            cursor.execute(
                "CREATE TABLE IF NOT EXISTS bare (id BIGINT AUTO_INCREMENT PRIMARY KEY, url TEXT, "
                "status SMALLINT UNSIGNED, body LONGTEXT, "
                "fetched_at DATETIME(6) DEFAULT CURRENT_TIMESTAMP(6)) CHARACTER SET utf8mb4"
            )
        self.rows = []

    def process_item(self, item):
        self.rows.append((item["url"], item["status"], item["body"]))
        if len(self.rows) >= args.batch:
            self.write()
        return item

    def close_spider(self):
        self.write()

    def write(self):
        with self.connection.cursor() as cursor:
            insert = "INSERT INTO bare (url, status, body) VALUES (%s, %s, %s)"
            cursor.executemany(insert, self.rows)
        self.connection.commit()
        self.rows.clear()


class Listed(scrapy.Spider):
    name = "listed"

    async def start(self):
        with open(args.urls) as lines:
            for line in lines:
                yield scrapy.Request(line.strip(), dont_filter=True)

    def parse(self, response):
        return {"url": response.url, "status": response.status, "body": response.text}


process = CrawlerProcess(
    {
        "CONCURRENT_REQUESTS": args.concurrency,
        "CONCURRENT_REQUESTS_PER_DOMAIN": args.concurrency,
        "DOWNLOAD_DELAY": 0,
        "DOWNLOAD_TIMEOUT": 30,
        "ROBOTSTXT_OBEY": False,
        "LOG_LEVEL": "WARNING",
        "TELNETCONSOLE_ENABLED": False,
        "ITEM_PIPELINES": {IntoMySQL: 300},
    }
)
process.crawl(Listed)
process.start()

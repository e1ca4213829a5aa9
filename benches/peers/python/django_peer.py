"""Django: `select_for_update` in `transaction.atomic`."""

import os

import django
from django.conf import settings
from psycopg.conninfo import conninfo_to_dict

import storm

told = conninfo_to_dict(os.environ["DATABASE_URL"])
settings.configure(
    DATABASES={
        "default": {
            "ENGINE": "django.db.backends.postgresql",
            "HOST": told["host"],
            "PORT": told["port"],
            "USER": told["user"],
            "PASSWORD": told.get("password", ""),
            "NAME": told["dbname"],
            "OPTIONS": {"options": told["options"]},
        }
    },
    USE_TZ=False,
)
django.setup()

from django.db import connection, models, transaction  # noqa: E402


class Account(models.Model):
    id = models.IntegerField(primary_key=True)
    balance = models.BigIntegerField()

    class Meta:
        app_label = "bank"
        db_table = "accounts"
        managed = False


def deposit(row):
    with transaction.atomic():
        account = Account.objects.select_for_update().get(pk=row)
        account.balance += 1
        account.save(update_fields=["balance"])


def connect():
    connection.ensure_connection()
    return deposit


storm.run(connect)

"""SQLAlchemy: `Session.get` with `with_for_update`."""

import os

import psycopg
from sqlalchemy import BigInteger, create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

import storm


class Base(DeclarativeBase):
    pass


class Account(Base):
    __tablename__ = "accounts"
    id: Mapped[int] = mapped_column(primary_key=True)
    balance: Mapped[int] = mapped_column(BigInteger)


def connect():
    # One connection: it is one process of many.
    engine = create_engine(
        "postgresql+psycopg://",
        creator=lambda: psycopg.connect(os.environ["DATABASE_URL"]),
        pool_size=1,
        max_overflow=0,
    )

    def deposit(row):
        with Session(engine) as session, session.begin():
            account = session.get_one(Account, row, with_for_update=True)
            account.balance += 1

    with Session(engine) as session:
        session.get_one(Account, 1)
    return deposit


storm.run(connect)

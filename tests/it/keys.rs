//! Primary keys of several columns, and of text.

use diesel::prelude::*;
use diesel_row_lock::{row_of, with_row_lock, with_row_locks, LockError, Locked, RowLock};
use law::law;

use crate::support::schema::{seats, tokens, Seat, Token};

const LOW: &str = "00000000-0000-4000-8000-000000000001";
const HIGH: &str = "ffffffff-ffff-4fff-bfff-ffffffffffff";

#[law(postgres, mysql, mariadb, sqlite)]
fn row_of_a_composite_key_is_locked_and_saved(db: &Db) {
    let conn = &mut db.connect();
    let saved = with_row_lock(
        conn,
        seats::table.find(("blue", 2)),
        |conn, mut seat: Locked<Seat>| {
            assert_eq!((&*seat.hall, seat.number), ("blue", 2));
            seat.taken_by = Some("Ada".to_owned());
            seat.save_changes::<Seat>(conn).map_err(LockError::from)
        },
    )
    .unwrap();
    assert_eq!(saved.taken_by.as_deref(), Some("Ada"));
    let taken: Vec<(String, i32)> = seats::table
        .filter(seats::taken_by.is_not_null())
        .select((seats::hall, seats::number))
        .load(conn)
        .unwrap();
    assert_eq!(taken, [("blue".to_owned(), 2)], "exactly this seat");
}

#[law(postgres, mysql, mariadb)]
fn composite_key_locks_this_row_only(db: &Db) {
    with_row_lock(
        &mut db.connect(),
        seats::table.find(("blue", 1)),
        |_, _: Locked<Seat>| {
            assert!(matches!(seat!(db, "blue", 1), Err(LockError::Busy { .. })));
            seat!(db, "blue", 2)?;
            seat!(db, "red", 1)?;
            Ok::<_, LockError>(())
        },
    )
    .unwrap();
    seat!(db, "blue", 1).unwrap();
}

#[law(postgres, mysql, mariadb, sqlite)]
fn rows_of_composite_keys_come_in_the_order_asked_for(db: &Db) {
    let keys = [
        ("red".to_owned(), 1),
        ("blue".to_owned(), 2),
        ("blue".to_owned(), 1),
    ];
    let expected = keys.clone();
    let conn = &mut db.connect();
    let found = with_row_locks(conn, keys.clone(), |_, rows: [Locked<Seat>; 3]| {
        Ok::<_, LockError>(rows.map(|seat| (seat.hall.clone(), seat.number)))
    });
    assert_eq!(found.unwrap(), expected);
    let found =
        RowLock::for_update().with_many(conn, keys.to_vec(), |_, rows: Vec<Locked<Seat>>| {
            Ok::<_, LockError>(
                rows.iter()
                    .map(|seat| (seat.hall.clone(), seat.number))
                    .collect::<Vec<_>>(),
            )
        });
    assert_eq!(found.unwrap(), expected);
}

/// Not the cross product of the columns: ('red', 2) does not exist, but both halves of it do.
#[law(postgres, mysql, mariadb, sqlite)]
fn missing_composite_key_is_not_found_by_name(db: &Db) {
    let keys = [
        ("red".to_owned(), 1),
        ("red".to_owned(), 2),
        ("blue".to_owned(), 2),
    ];
    let result = with_row_locks(&mut db.connect(), keys, |_, _: [Locked<Seat>; 3]| Ok(()));
    let Err(LockError::NotFound { key: Some(key) }) = result else {
        panic!("{result:?}")
    };
    assert!(key.contains("red") && key.contains('2'), "{key}");
}

#[law(postgres, mysql, mariadb, sqlite)]
fn repeated_composite_key_is_refused(db: &Db) {
    let keys = [
        ("red".to_owned(), 1),
        ("blue".to_owned(), 1),
        ("red".to_owned(), 1),
    ];
    let result = with_row_locks(&mut db.connect(), keys, |_, _: [Locked<Seat>; 3]| Ok(()));
    let Err(LockError::DuplicateKey { key }) = result else {
        panic!("{result:?}")
    };
    assert!(key.contains("red"), "{key}");
}

#[law(postgres, mysql, mariadb)]
fn many_composite_keys_lock_these_rows_only(db: &Db) {
    let keys = [("red".to_owned(), 1), ("blue".to_owned(), 1)];
    with_row_locks(&mut db.connect(), keys, |_, _: [Locked<Seat>; 2]| {
        assert!(matches!(seat!(db, "red", 1), Err(LockError::Busy { .. })));
        seat!(db, "blue", 2)?;
        Ok::<_, LockError>(())
    })
    .unwrap();
}

#[law(postgres, mysql, mariadb, sqlite)]
fn stale_seat_is_refreshed_under_the_lock(db: &Db) {
    let conn = &mut db.connect();
    let stale: Seat = seats::table.find(("red", 1)).first(conn).unwrap();
    diesel::update(&stale)
        .set(seats::taken_by.eq("Grace"))
        .execute(&mut db.connect())
        .unwrap();
    let fresh = with_row_lock(conn, row_of(&stale), |_, seat: Locked<Seat>| {
        Ok::<_, LockError>(seat.into_inner())
    });
    assert_eq!(
        fresh.unwrap(),
        Seat {
            taken_by: Some("Grace".to_owned()),
            ..stale
        }
    );
}

#[law(postgres, mysql, mariadb, sqlite)]
fn row_of_a_text_key_is_locked_and_saved(db: &Db) {
    let conn = &mut db.connect();
    with_row_lock(
        conn,
        tokens::table.find(HIGH),
        |conn, mut token: Locked<Token>| {
            token.uses += 1;
            token.save_changes::<Token>(conn)?;
            Ok::<_, LockError>(())
        },
    )
    .unwrap();
    let uses: Vec<(String, i32)> = tokens::table.order(tokens::id).load(conn).unwrap();
    assert_eq!(uses, [(LOW.to_owned(), 0), (HIGH.to_owned(), 1)]);
    let stale: Token = tokens::table.find(LOW).first(conn).unwrap();
    diesel::update(&stale)
        .set(tokens::uses.eq(9))
        .execute(&mut db.connect())
        .unwrap();
    let uses = with_row_lock(conn, row_of(&stale), |_, token: Locked<Token>| {
        Ok::<_, LockError>(token.uses)
    });
    assert_eq!(uses.unwrap(), 9);
}

#[law(postgres, mysql, mariadb, sqlite)]
fn rows_of_text_keys_come_in_the_order_asked_for(db: &Db) {
    let conn = &mut db.connect();
    let keys = [HIGH.to_owned(), LOW.to_owned()];
    let found = with_row_locks(conn, keys.clone(), |conn, mut rows: [Locked<Token>; 2]| {
        for token in &mut rows {
            token.uses += 1;
            token.save_changes::<Token>(conn)?;
        }
        Ok::<_, LockError>(rows.map(|token| token.into_inner().id))
    });
    assert_eq!(found.unwrap(), keys);
    let found = RowLock::for_update().with_many(conn, keys, |_, rows: Vec<Locked<Token>>| {
        Ok::<_, LockError>(rows.iter().map(|token| token.uses).collect::<Vec<_>>())
    });
    assert_eq!(found.unwrap(), [1, 1]);
}

/// Values are bound, so nothing in them is SQL.
#[law(postgres, mysql, mariadb, sqlite)]
fn key_may_look_like_sql(db: &Db) {
    let conn = &mut db.connect();
    let hostile = ["o'; DROP TABLE tokens; --", "%_\\", "\"\u{e9}\"`", ""].map(str::to_owned);
    for id in &hostile {
        let token = (tokens::id.eq(id), tokens::uses.eq(7));
        diesel::insert_into(tokens::table)
            .values(token)
            .execute(conn)
            .unwrap();
    }
    let found = with_row_locks(conn, hostile.clone(), |_, rows: [Locked<Token>; 4]| {
        Ok::<_, LockError>(rows.map(|token| token.into_inner().id))
    });
    assert_eq!(found.unwrap(), hostile);
}

/// Asks for a seat from a fresh connection, without waiting.
macro_rules! seat {
    ($db:ident, $hall:literal, $number:literal) => {
        RowLock::for_update().no_wait().with(
            &mut $db.connect(),
            seats::table.find(($hall, $number)),
            |_, _: Locked<Seat>| Ok::<_, LockError>(()),
        )
    };
}
use seat;

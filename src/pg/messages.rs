//! What PostgreSQL says, in each language that it speaks.
//!
//! The texts are those of the server's catalogues (`postgres-15.mo` of Debian's packages 15.18
//! and 15.20, and those of 16.14, 17.10 and 18.4), to the letter, with `%` where the server puts a
//! name. A text that only begins like one of these is a user's own (`RAISE`). What has no row in a
//! language is said in English there.

use crate::backend::Cause::{
    Aborted, Busy, Cancelled, ConnectionLost, Deadlock, StatementTimeout, Timeout,
};
use crate::backend::{Messages, Translations};

/// The texts of the server's `errmsg` calls in `lockcmds.c`, `lmgr.c`, `heapam.c`, `deadlock.c` and
/// `postgres.c`.
#[rustfmt::skip]
pub(super) const ENGLISH: Messages = &[
    (r#"could not obtain lock on row in relation "%""#, Busy),          // 55P03
    (r#"could not obtain lock on relation "%""#, Busy),                 // 55P03
    ("canceling statement due to lock timeout", Timeout),               // 55P03
    ("deadlock detected", Deadlock),                                    // 40P01
    ("canceling statement due to statement timeout", StatementTimeout), // 57014
    ("canceling statement due to user request", Cancelled),             // 57014
    (
        "current transaction is aborted, commands ignored until end of transaction block", // 25P02
        Aborted,
    ),
    ("terminating connection due to administrator command", ConnectionLost),       // 57P01
    ("terminating connection due to idle-in-transaction timeout", ConnectionLost), // 25P03
    ("terminating connection due to transaction timeout", ConnectionLost),         // 25P04
    ("terminating connection due to idle-session timeout", ConnectionLost),        // 57P05
    ("terminating connection due to conflict with recovery", ConnectionLost),      // 40001, 57P01
    ("terminating connection due to immediate shutdown command", ConnectionLost),  // 57P01
    ("terminating connection due to unexpected postmaster exit", ConnectionLost),  // 57P01
    (
        "terminating connection because of crash of another server process",       // 57P02
        ConnectionLost,
    ),
    ("terminating connection because of unexpected SIGQUIT signal", ConnectionLost), // 57P02
    ("terminating connection because protocol synchronization was lost", ConnectionLost), // 08P01
];

/// A serialization failure and the end of a connection have kinds of their own at Diesel, hence no
/// rows here, and none in English for the former.
#[rustfmt::skip]
pub(super) const TRANSLATIONS: Translations = &[
    ("de", &[
        ("konnte Sperre für Relation »%« nicht setzen", Busy),
        ("konnte Sperre für Zeile in Relation »%« nicht setzen", Busy),
        ("storniere Anfrage wegen Zeitüberschreitung einer Sperre", Timeout),
        ("Verklemmung (Deadlock) entdeckt", Deadlock),
        ("storniere Anfrage wegen Zeitüberschreitung der Anfrage", StatementTimeout),
        ("storniere Anfrage wegen Benutzeraufforderung", Cancelled),
        (
            "aktuelle Transaktion wurde abgebrochen, Befehle werden bis zum Ende der \
             Transaktion ignoriert",
            Aborted,
        ),
    ]),
    ("es", &[
        ("no se pudo bloquear un candado en la fila de la relación «%»", Busy),
        ("no se pudo bloquear un candado en la relación «%»", Busy),
        ("no se pudo bloquear un “lock” en la fila de la relación «%»", Busy),
        ("no se pudo bloquear un “lock” en la relación «%»", Busy),
        (
            "cancelando la sentencia debido a que se agotó el tiempo de espera de candados (locks)",
            Timeout,
        ),
        ("cancelando la sentencia debido a que se agotó el tiempo de espera de “locks”", Timeout),
        ("se ha detectado un deadlock", Deadlock),
        (
            "cancelando la sentencia debido a que se agotó el tiempo de espera de sentencias",
            StatementTimeout,
        ),
        ("cancelando la sentencia debido a una petición del usuario", Cancelled),
        (
            "transacción abortada, las órdenes serán ignoradas hasta el fin de bloque de \
             transacción",
            Aborted,
        ),
    ]),
    ("fr", &[
        ("n'a pas pu obtenir un verrou sur la relation « % »", Busy),
        ("annulation de la requête à cause du délai écoulé pour l'obtention des verrous", Timeout),
        ("interblocage (deadlock) détecté", Deadlock),
        (
            "annulation de la requête à cause du délai écoulé pour l'exécution de l'instruction",
            StatementTimeout,
        ),
        ("annulation de la requête à la demande de l'utilisateur", Cancelled),
        (
            "la transaction est annulée, les commandes sont ignorées jusqu'à la fin du \
             bloc\nde la transaction",
            Aborted,
        ),
    ]),
    ("id", &[
        ("tidak mendapatkan 'lock' pada relasi « % »", Busy),
        ("tidak mendapatkan 'lock' pada relasi« % »", Busy),
        ("tidak mendapatkan kunci pada baris relasi « % »", Busy),
        ("pembatalan perintah karena kunci kehabisan waktu tunggu", Timeout),
        ("terdeteksi 'deadlock'", Deadlock),
        ("pembatalan perintah karena perintah kehabisan waktu tunggu", StatementTimeout),
        ("pembatalan perintah karena permintaan pengguna", Cancelled),
        ("transaksi saat ini dibatalkan, perintah diabaikan sampai akhir blok transaksi", Aborted),
    ]),
    ("it", &[
        (r#"lock della relazione "%" fallito"#, Busy),
        (r#"lock di riga nella relazione "%" fallito"#, Busy),
        ("annullamento dell'istruzione a causa di timeout di lock", Timeout),
        ("rilevato deadlock", Deadlock),
        ("annullamento dell'istruzione a causa di timeout", StatementTimeout),
        ("annullamento dell'istruzione su richiesta dell'utente", Cancelled),
        (
            "la transazione corrente è interrotta, i comandi saranno ignorati fino alla \
             fine del blocco della transazione",
            Aborted,
        ),
    ]),
    ("ja", &[
        (r#"リレーション"%"のロックを取得できませんでした"#, Busy),
        (r#"リレーション"%"の行ロックを取得できませんでした"#, Busy),
        ("ロックのタイムアウトのためステートメントをキャンセルしています", Timeout),
        ("デッドロックを検出しました", Deadlock),
        ("ステートメントのタイムアウトのためステートメントをキャンセルしています", StatementTimeout),
        ("ユーザーからの要求により文をキャンセルしています", Cancelled),
        ("現在のトランザクションがアボートしました。トランザクションブロックが終わるまでコマンドは無視されます", Aborted),
    ]),
    ("ka", &[
        (r#"ბლოკის მიღების შეცდომა ურთიერთობაზე %""#, Busy),
        (r#"ურთიერთობაში "%" მწკრივის დაბლოკვის შეცდომა"#, Busy),
        ("გამოსახულება გაუქმდება ბლოკის მოლოდინის ვადის ამოწურვის გამო", Timeout),
        ("ნაპოვნია ურთიერთბლოკირება", Deadlock),
    ]),
    ("ko", &[
        (r#""%" 릴레이션의 잠금 정보를 구할 수 없음"#, Busy),
        ("잠금 대기 시간 초과로 작업을 취소합니다.", Timeout),
        ("deadlock 발생했음", Deadlock),
        ("명령실행시간 초과로 작업을 취소합니다.", StatementTimeout),
        ("사용자 요청에 의해 작업을 취소합니다.", Cancelled),
        ("현재 트랜잭션은 중지되어 있습니다. 이 트랜잭션을 종료하기 전까지는 모든 명령이 무시될 것입니다", Aborted),
    ]),
    ("pl", &[
        (r#"nie można nałożyć blokady na rekord w relacji "%""#, Busy),
        (r#"nie można nałożyć blokady na relację "%""#, Busy),
        ("anulowano polecenie z powodu przekroczenia czasu blokady", Timeout),
        ("wykryto zakleszczenie", Deadlock),
        ("anulowano polecenie z powodu przekroczonego czasu wykonania", StatementTimeout),
        ("anulowano polecenie na skutek żądania użytkownika", Cancelled),
        (
            "bieżąca transakcja została przerwana, polecenia ignorowane do końca bloku transakcji",
            Aborted,
        ),
    ]),
    ("pt_BR", &[
        (r#"não foi possível obter bloqueio na linha da relação "%""#, Busy),
        (r#"não foi possível obter bloqueio na relação "%""#, Busy),
        (
            "cancelando a instrução porque o tempo de espera do bloqueio se esgotou  (timeout)",
            Timeout,
        ),
        ("cancelando comando por causa do tempo de espera (timeout) do bloqueio", Timeout),
        ("impasse detectado", Deadlock),
        (
            "cancelando a instrução porque o tempo de espera da instrução se esgotou (timeout)",
            StatementTimeout,
        ),
        ("cancelando comando por causa do tempo de espera (timeout) do comando", StatementTimeout),
        ("cancelando a instrução devido a pedido do usuário", Cancelled),
        ("cancelando o comando devido a um pedido do usuário", Cancelled),
        (
            "transação atual foi interrompida, comandos ignorados até o fim do bloco de transação",
            Aborted,
        ),
    ]),
    ("ru", &[
        (r#"не удалось получить блокировку строки в таблице "%""#, Busy),
        (r#"не удалось получить блокировку таблицы "%""#, Busy),
        ("выполнение оператора отменено из-за тайм-аута блокировки", Timeout),
        ("обнаружена взаимоблокировка", Deadlock),
        ("выполнение оператора отменено из-за тайм-аута", StatementTimeout),
        ("выполнение оператора отменено по запросу пользователя", Cancelled),
        ("текущая транзакция прервана, команды до конца блока транзакции игнорируются", Aborted),
    ]),
    ("sv", &[
        (r#"kunde inte låsa rad i relationen "%""#, Busy),
        (r#"kunde inte ta lås på relationen "%""#, Busy),
        ("avbryter sats på grund av lås-timeout", Timeout),
        ("deadlock upptäckt", Deadlock),
        ("avbryter sats på grund av sats-timeout", StatementTimeout),
        ("avbryter sats på användares begäran", Cancelled),
        (
            "aktuella transaktionen har avbrutits, alla kommandon ignoreras tills slutet på \
             transaktionen",
            Aborted,
        ),
    ]),
    ("tr", &[
        (r#""%" nesnesi için kilit alınamadı"#, Busy),
        (r#""%" tablosu için kilit alınamadı"#, Busy),
        (r#""%" tablosundaki satır için lock alınamadı"#, Busy),
        ("çıkmaz (deadlock) durumu saptandı", Deadlock),
        ("sorgu zaman aşımına uğradı ve iptal edildi", StatementTimeout),
        ("kullanıcı isteği ile sorgu iptal edildi", Cancelled),
        (
            "geçerli transaction durduruldu, transaction blokunun sonuna kadar komutlar yok \
             sayılacak",
            Aborted,
        ),
    ]),
    ("uk", &[
        (r#"не вдалося отримати блокування зв'язку "%""#, Busy),
        (r#"не вдалося отримати блокування у рядку стосовно "%""#, Busy),
        ("виконання оператора скасовано через тайм-аут блокування", Timeout),
        ("виявлено взаємне блокування", Deadlock),
        ("виконання оператора скасовано через тайм-аут", StatementTimeout),
        ("виконання оператора скасовано по запиту користувача", Cancelled),
        ("поточна транзакція перервана, команди до кінця блока транзакції пропускаються", Aborted),
    ]),
    ("zh_CN", &[
        (r#"无法在关系 "%" 上获得锁"#, Busy),
        (r#"无法在关系 "%"中的记录上获得锁"#, Busy),
        (r#"无法获取关系 "%" 上的锁"#, Busy),
        (r#"无法获取关系 "%" 中行的锁"#, Busy),
        ("由于锁超时，取消语句操作", Timeout),
        ("由于锁超时，正在取消语句", Timeout),
        ("检测到死锁", Deadlock),
        ("由于语句执行超时，正在取消查询命令", StatementTimeout),
        ("由于语句执行超时，正在取消语句", StatementTimeout),
        ("由于用户请求而正在取消查询", Cancelled),
        ("由于用户请求，正在取消语句", Cancelled),
        ("当前事务已中止，事务块结束之前的命令将被忽略", Aborted),
        ("当前事务被终止, 事务块结束之前的查询被忽略", Aborted),
    ]),
    ("zh_TW", &[
        (r#"無法取得關聯 "%" 上的鎖定"#, Busy),
        (r#"無法取得關聯 "%" 中的資料列鎖定"#, Busy),
        (r#"無法取得關聯 "%" 的鎖定"#, Busy),
        ("由於鎖定逾時，正在取消敘述", Timeout),
        ("發現死結", Deadlock),
        ("因為陳述式逾時，正在取消陳述式", StatementTimeout),
        ("因為使用者要求，正在取消陳述式", Cancelled),
        ("目前交易已中止，忽略指令直到交易區塊結尾", Aborted),
    ]),
];

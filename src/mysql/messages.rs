//! What MariaDB and MySQL say, in each language that they speak.
//!
//! The texts are those of the servers' `errmsg-utf8.txt` (MariaDB 10.11 and 11.8) and
//! `messages_to_clients.txt` (MySQL 9.5 and 9.7), to the letter, with `%` where the server puts a
//! name or a number. A text that only begins like one of these is a user's own (`SIGNAL`). What has
//! no row in a language is said in English there.

use crate::backend::Cause::{
    Busy, Cancelled, ConnectionLost, Deadlock, SerializationFailure, StatementTimeout, Timeout,
};
use crate::backend::{Messages, Translations};

/// The last ones are the client library's (`errmsg.c`), which speaks only English: libmariadb's,
/// and those of `libmysqlclient`, which says `MySQL server`.
#[rustfmt::skip]
pub(super) const ENGLISH: Messages = &[
    ("Lock wait timeout exceeded; try restarting transaction", Timeout),            // 1205
    ("Deadlock found when trying to get lock; try restarting transaction", Deadlock), // 1213
    ("Record has changed since last read in table '%'", SerializationFailure),      // 1020
    (
        "Record has changed since last read in table '%'; try restarting transaction", // 1020
        SerializationFailure,
    ),
    (
        "Statement aborted because lock(s) could not be acquired immediately and NOWAIT is set.",
        Busy,                                                                       // 3572
    ),
    ("Query execution was interrupted (max_statement_time exceeded)", StatementTimeout), // 1969
    ("Query was interrupted: execution time limit % exceeded", StatementTimeout),   // 1969
    (
        "Query execution was interrupted, maximum statement execution time exceeded", // 3024
        StatementTimeout,
    ),
    ("Query execution was interrupted", Cancelled),                                 // 1317
    ("Connection was killed", ConnectionLost),                                      // 1927
    ("Server shutdown in progress", ConnectionLost),                                // 1053
    (
        "The client was disconnected by the server because of inactivity. \
         See wait_timeout and interactive_timeout for configuring this behavior.",  // 4031
        ConnectionLost,
    ),
    ("Server has gone away", ConnectionLost),                                       // 2006
    ("MySQL server has gone away", ConnectionLost),                                 // 2006
    ("Lost connection to server during query", ConnectionLost),                     // 2013
    ("Lost connection to MySQL server during query", ConnectionLost),               // 2013
    ("Lost connection to server at '%', system error: %", ConnectionLost),          // 2055
    ("Lost connection to MySQL server at '%', system error: %", ConnectionLost),    // 2055
];

/// Each under the name of its folder in the server's `lc_messages_dir`.
#[rustfmt::skip]
pub(super) const TRANSLATIONS: Translations = &[
    ("chinese", &[
        ("锁等待超时;尝试重新启动事务", Timeout),
        ("试图锁定时发现僵局;尝试重新启动事务", Deadlock),
        ("这个表自上次读后数据有变化'%';尝试重新启动事务", SerializationFailure),
        ("查询执行中断（超出MAX_STATEMENT_TIME）", StatementTimeout),
        ("查询被中断：执行时间限制 % 已超出", StatementTimeout),
        ("查询执行中断", Cancelled),
        ("连接被杀死", ConnectionLost),
        ("服务器正在关闭", ConnectionLost),
    ]),
    ("czech", &[
        ("Záznam byl změněn od posledního čtení v tabulce '%'", SerializationFailure),
        ("Probíhá ukončování práce serveru", ConnectionLost),
    ]),
    ("danish", &[
        ("Lock wait timeout overskredet", Timeout),
        ("Posten er ændret siden sidste læsning '%'", SerializationFailure),
        (
            "Posten er ændret siden sidste læsning '%'; Prøv at genstarte transaktionen",
            SerializationFailure,
        ),
        ("Database nedlukning er i gang", ConnectionLost),
    ]),
    ("dutch", &[
        ("Lock wacht tijd overschreden", Timeout),
        (
            "Deadlock gevonden tijdens lock-aanvraag poging; Probeer herstart van de transactie",
            Deadlock,
        ),
        (
            "Record is veranderd sinds de laatste lees activiteit in de tabel '%'",
            SerializationFailure,
        ),
        (
            "Record is veranderd sinds de laatste lees activiteit in de tabel '%'; Probeer \
             herstart van de transactie",
            SerializationFailure,
        ),
        ("Bezig met het stoppen van de server", ConnectionLost),
    ]),
    ("estonian", &[
        ("Kontrollaeg ületatud luku järel ootamisel; Proovi transaktsiooni otsast alata", Timeout),
        ("Lukustamisel tekkis tupik (deadlock); alusta transaktsiooni otsast", Deadlock),
        ("Kirje tabelis '%' on muutunud viimasest lugemisest saadik", SerializationFailure),
        (
            "Kirje tabelis '%' on muutunud viimasest lugemisest saadik; alusta \
             transaktsiooni otsast",
            SerializationFailure,
        ),
        ("Serveri seiskamine käib", ConnectionLost),
    ]),
    ("french", &[
        ("Timeout sur l'obtention du verrou", Timeout),
        (
            "Deadlock découvert en essayant d'obtenir les verrous : essayez de redémarrer \
             la transaction",
            Deadlock,
        ),
        (
            "Enregistrement modifié depuis sa dernière lecture dans la table '%'",
            SerializationFailure,
        ),
        (
            "Enregistrement modifié depuis sa dernière lecture dans la table '%' : essayez \
             de redémarrer la transaction",
            SerializationFailure,
        ),
        ("Arrêt du serveur en cours", ConnectionLost),
    ]),
    ("georgian", &[
        ("ბლოკის მოლოდინის ვადა ამოიწურა. სცადეთ, ტრანზაქცია თავიდან გაუშვათ", Timeout),
        ("ჩიხი ბლოკის მიღების მცდელობისას. სცადეთ, ტრანზაქცია თავიდან გაუშვათ", Deadlock),
        (
            "ცხრილში '%' ჩანაწერი შეიცვალა ბოლო წაკითხვის შემდეგ. სცადეთ, ტრანზაქცია \
             თავიდან გაუშვათ",
            SerializationFailure,
        ),
        ("მოთხოვნის შესრულება შეწყვეტილია", Cancelled),
        ("მიმდინარეობს სერვერის გამორთვა", ConnectionLost),
    ]),
    ("german", &[
        (
            "Beim Warten auf eine Sperre wurde die zulässige Wartezeit überschritten. Bitte \
             versuchen Sie, die Transaktion neu zu starten",
            Timeout,
        ),
        (
            "Beim Versuch, eine Sperre anzufordern, ist ein Deadlock aufgetreten. Versuchen \
             Sie, die Transaktion neu zu starten",
            Deadlock,
        ),
        (
            "Datensatz hat sich seit dem letzten Zugriff auf Tabelle '%' geändert",
            SerializationFailure,
        ),
        (
            "Datensatz hat sich seit dem letzten Zugriff auf Tabelle '%' geändert. \
             Versuchen Sie, die Transaktion neu zu starten",
            SerializationFailure,
        ),
        ("Ausführung der Abfrage wurde unterbrochen", Cancelled),
        ("Der Server wird heruntergefahren", ConnectionLost),
    ]),
    ("greek", &[
        (
            "Η εγγραφή έχει αλλάξει από την τελευταία φορά που ανασύρθηκε από τον πίνακα '%'",
            SerializationFailure,
        ),
        ("Εναρξη διαδικασίας αποσύνδεσης του εξυπηρετητή (server shutdown)", ConnectionLost),
    ]),
    ("hindi", &[
        ("रिकॉर्ड टेबल '%' पिछली बार पढ़े जाने के बाद से बदल गया है", SerializationFailure),
        ("कनेक्शन को समाप्त कर दिया गया है", ConnectionLost),
        ("सर्वर बंद हो रहा है", ConnectionLost),
    ]),
    ("hungarian", &[
        (
            "A(z) '%' tablaban talalhato rekord megvaltozott az utolso olvasas ota",
            SerializationFailure,
        ),
        ("A szerver leallitasa folyamatban", ConnectionLost),
    ]),
    ("italian", &[
        ("E' scaduto il timeout per l'attesa del lock", Timeout),
        ("Trovato deadlock durante il lock; Provare a far ripartire la transazione", Deadlock),
        ("Il record e` cambiato dall'ultima lettura della tabella '%'", SerializationFailure),
        (
            "Il record e` cambiato dall'ultima lettura della tabella '%'; Provare a far \
             ripartire la transazione",
            SerializationFailure,
        ),
        ("Shutdown del server in corso", ConnectionLost),
    ]),
    ("japanese", &[
        ("ロック待ちがタイムアウトしました。トランザクションを再試行してください。", Timeout),
        ("ロック取得中にデッドロックが検出されました。トランザクションを再試行してください。", Deadlock),
        ("表 '%' の最後の読み込み時点から、レコードが変化しました。", SerializationFailure),
        ("表 '%' の最後の読み込み時点から、レコードが変化しました。トランザクションを再試行してください。", SerializationFailure),
        ("サーバーをシャットダウン中です。", ConnectionLost),
    ]),
    ("korean", &[
        ("테이블 '%'에서 마지막으로 읽은 후 Record가 변경되었습니다.", SerializationFailure),
        ("Server가 셧다운 중입니다.", ConnectionLost),
    ]),
    ("norwegian", &[
        ("Posten har blitt endret siden den ble lest '%'", SerializationFailure),
        ("Database nedkobling er i gang", ConnectionLost),
    ]),
    ("norwegian-ny", &[
        ("Posten har vorte endra sidan den sist vart lesen '%'", SerializationFailure),
        (
            "Posten har vorte endra sidan den sist vart lesen '%'; Prøv å starte \
             transaksjonen på nytt",
            SerializationFailure,
        ),
        ("Tenar nedkopling er i gang", ConnectionLost),
    ]),
    ("polish", &[
        ("Rekord został zmieniony od ostaniego odczytania z tabeli '%'", SerializationFailure),
        ("Trwa kończenie działania serwera", ConnectionLost),
    ]),
    ("portuguese", &[
        ("Tempo de espera (timeout) de travamento excedido. Tente reiniciar a transação", Timeout),
        ("Tempo de espera (timeout) de travamento excedido. Tente reiniciar a transação.", Timeout),
        (
            "Encontrado um travamento fatal (deadlock) quando tentava obter uma trava. \
             Tente reiniciar a transação",
            Deadlock,
        ),
        (
            "Encontrado um travamento fatal (deadlock) quando tentava obter uma trava. \
             Tente reiniciar a transação.",
            Deadlock,
        ),
        ("Registro alterado desde a última leitura da tabela '%'", SerializationFailure),
        (
            "Registro alterado desde a última leitura da tabela '%'. Tente reiniciar a transação",
            SerializationFailure,
        ),
        ("'Shutdown' do servidor em andamento", ConnectionLost),
    ]),
    ("romanian", &[
        ("Cimpul a fost schimbat de la ultima citire a tabelei '%'", SerializationFailure),
        ("Terminarea serverului este in desfasurare", ConnectionLost),
    ]),
    ("russian", &[
        ("Таймаут ожидания блокировки истек; попробуйте перезапустить транзакцию", Timeout),
        (
            "Возникла тупиковая ситуация в процессе получения блокировки; Попробуйте \
             перезапустить транзакцию",
            Deadlock,
        ),
        ("Запись изменилась с момента последней выборки в таблице '%'", SerializationFailure),
        (
            "Запись изменилась с момента последней выборки в таблице '%'; Попробуйте \
             перезапустить транзакцию",
            SerializationFailure,
        ),
        ("Сервер находится в процессе остановки", ConnectionLost),
    ]),
    ("serbian", &[
        (
            "Vremenski limit za zaključavanje tabele je istekao; Probajte da ponovo \
             startujete transakciju",
            Timeout,
        ),
        (
            "Unakrsno zaključavanje pronađeno kada sam pokušao da dobijem pravo na \
             zaključavanje; Probajte da restartujete transakciju",
            Deadlock,
        ),
        ("Slog je promenjen od zadnjeg čitanja tabele '%'", SerializationFailure),
        (
            "Slog je promenjen od zadnjeg čitanja tabele '%'; Probajte da restartujete transakciju",
            SerializationFailure,
        ),
        ("Gašenje servera je u toku", ConnectionLost),
    ]),
    ("slovak", &[
        ("Záznam bol zmenený od posledného čítania v tabuľke '%'", SerializationFailure),
        ("Prebieha ukončovanie práce servera", ConnectionLost),
    ]),
    ("spanish", &[
        ("Tiempo de bloqueo de espera excedido", Timeout),
        ("Tiempo de espera de bloqueo excedido; intente rearrancar la transacción", Timeout),
        (
            "Encontrado deadlock cuando tentando obtener el bloqueo; Tente recomenzar la \
             transición",
            Deadlock,
        ),
        (
            "Encontrado estancamiento (deadlock) al intentar obtener el bloqueo; intente \
             volver a comenzar la transacción",
            Deadlock,
        ),
        ("El registro ha cambiado desde la ultima lectura de la tabla '%'", SerializationFailure),
        (
            "El registro ha cambiado desde la ultima lectura de la tabla '%'; intente \
             volver a comenzar la transacción",
            SerializationFailure,
        ),
        ("Consulta interrumpida: límite de tiempo de ejecución % excedido", StatementTimeout),
        // 1969: the catalogue of MariaDB 10.11 has no more than this of it.
        ("S", StatementTimeout),
        ("Se ha interrumpido la ejecución de la consulta (query)", Cancelled),
        ("La conexión fue matada", ConnectionLost),
        ("Desconexion de servidor en proceso", ConnectionLost),
        ("Desconexión de servidor en proceso", ConnectionLost),
    ]),
    ("swahili", &[
        ("Muda wa kusubiri kufuli umepita; jaribu kuanzisha upya shughuli", Timeout),
        (
            "Kufungana ya makufuli kumepatikana wakati wa kujaribu kufunga; jaribu \
             kuanzisha tena muamala",
            Deadlock,
        ),
        (
            "Rekodi imebadilika tangu kusomeka mara ya mwisho kwenye jedwali '%'; jaribu \
             kuanzisha upya muamala",
            SerializationFailure,
        ),
        ("Hoja ilikatizwa: kikomo cha muda wa utekelezaji % kimepitwa", StatementTimeout),
        ("Utekelezaji wa hoja ulikatizwa", Cancelled),
        ("Muunganisho uliuawa", ConnectionLost),
        ("Uzimiko wa seva unaendelea", ConnectionLost),
    ]),
    ("swedish", &[
        ("Fick inte ett lås i tid ; Försök att starta om transaktionen", Timeout),
        (
            "Fick 'DEADLOCK' vid låsförsök av block/rad. Försök att starta om transaktionen",
            Deadlock,
        ),
        ("Posten har förändrats sedan den lästes i register '%'", SerializationFailure),
        (
            "Posten har förändrats sedan den lästes i register '%'. Försök att starta om \
             transaktionen",
            SerializationFailure,
        ),
        ("Servern går nu ned", ConnectionLost),
    ]),
    ("ukrainian", &[
        ("Затримку очікування блокування вичерпано", Timeout),
        (
            "Взаємне блокування знайдено під час спроби отримати блокування; спробуйте \
             перезапустити транзакцію.",
            Deadlock,
        ),
        ("Запис було змінено з часу останнього читання з таблиці '%'", SerializationFailure),
        (
            "Запис було змінено з часу останнього читання з таблиці '%'; спробуйте \
             перезапустити транзакцію.",
            SerializationFailure,
        ),
        ("Завершується работа сервера", ConnectionLost),
    ]),
];
